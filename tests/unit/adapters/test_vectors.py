"""(IA)^3 and LN-tuning: where the vectors are, which norms train, what merging does."""

from typing import Any

import pytest
import torch
from torch import nn

from petbench.adapters.adapter import Affine
from petbench.adapters.methods.ia3 import IA3, IA3Spec, ScaleAdapter
from petbench.adapters.methods.ln_tuning import LNTuning, LNTuningSpec
from petbench.errors import UserError
from petbench.models.sites import Layout
from tiny_models import backbone


def ia3(**fields: Any) -> IA3Spec:
    return IA3Spec.model_validate({"method": "ia3", **fields})


def ln(**fields: Any) -> LNTuningSpec:
    return LNTuningSpec.model_validate({"method": "ln_tuning", **fields})


@pytest.mark.parametrize("side", ["input", "output"])
def test_ia3_merges_exactly(side: Any) -> None:
    torch.manual_seed(0)
    dense, x = nn.Linear(6, 4), torch.randn(3, 6)
    adapter = ScaleAdapter(6 if side == "input" else 4, side)
    nn.init.normal_(adapter.l)
    expected = dense(adapter(x, x)) if side == "input" else adapter(x, dense(x))
    merged = adapter.merged(Affine(dense.weight, dense.bias), None)
    torch.testing.assert_close(nn.functional.linear(x, *merged), expected)


def test_ia3_counts_and_sides(tiny_bert: Layout, tiny_t5: Layout) -> None:
    assert IA3().count(ia3(), tiny_bert) == 2 * (32 + 32 + 64)
    assert IA3().count(ia3(), tiny_t5) == 6 * 64 + 4 * 64, "cross-attention has its own keys and values"
    sides = {a.site.role: a.at for a in IA3().attachments(ia3(), tiny_bert)}
    assert sides == {"key": "output", "value": "output", "ffn_output": "input"}


def test_ia3_wants_each_role_once(tiny_bert: Layout) -> None:
    with pytest.raises(UserError, match=r"\['key'\] is also in adapter.feedforward"):
        IA3().count(ia3(feedforward=["key"]), tiny_bert)
    with pytest.raises(UserError, match="got none"):
        IA3().count(ia3(targets=[], feedforward=[]), tiny_bert)


def test_ln_tuning_trains_the_norms_and_no_embedding_norm() -> None:
    made = backbone("tiny_bert")
    names = LNTuning().trains(ln(), made.layout, made.model)
    assert len(names) == 2 * 2 * 2
    assert not [name for name in names if "embeddings" in name]
    last = LNTuning().trains(ln(layers="last:1", norms=["ffn_norm"]), made.layout, made.model)
    assert last == {f"bert.encoder.layer.1.output.LayerNorm.{part}" for part in ("weight", "bias")}


def test_ln_tuning_of_t5_has_the_final_norms_when_all_layers_train() -> None:
    made = backbone("tiny_t5")
    names = LNTuning().trains(ln(), made.layout, made.model)
    assert {"encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"} <= names
    assert len(names) == 2 * 2 + 2 * 3 + 2
    some = LNTuning().trains(ln(layers="last:1"), made.layout, made.model)
    assert not [name for name in some if "final" in name]


def test_ln_tuning_refuses_other_roles() -> None:
    made = backbone("tiny_bert")
    with pytest.raises(UserError, match=r"got \['query'\]. Legal: one or more of attention_norm"):
        LNTuning().trains(ln(norms=["query"]), made.layout, made.model)
