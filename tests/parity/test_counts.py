"""Parameter counts that the papers print, or that follow from their formulas, on the real configs."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import method_named
from petbench.compose.expand import choice
from petbench.config.sections import ModelSpec
from petbench.models.load import skeleton
from petbench.record import Params
from petbench.tuned.attach import attach
from petbench.tuned.params import count_params

CONF = Path(__file__).parents[2] / "conf"
T5, BERT, ROBERTA = "t5_base", "bert_base", "roberta_base"
T5_NORMS = 47_616  # 62 norms of 768
BACKBONES = {T5: 222_903_552, BERT: 109_482_240, ROBERTA: 124_055_040}  # RoBERTa without its pooler

# method, model, fields, adapter, norms, others, percent as printed in the paper (None: none is printed)
ROWS: list[tuple[str, str, dict[str, Any], int, int, float | None]] = [
    ("krona", T5, {"factor_shape": (32, 24)}, 110_592, T5_NORMS, 0.07),
    ("krona", T5, {"factor_shape": "auto"}, 110_592, T5_NORMS, 0.07),
    ("krona", T5, {"factor_shape": (2, 384)}, 110_592, T5_NORMS, 0.07),
    ("lora", T5, {"rank": 1, "train_norms": True}, 110_592, T5_NORMS, 0.07),
    ("krona_b", T5, {}, 110_592, T5_NORMS, 0.07),
    ("krona_b_res", T5, {}, 110_592 + 48, T5_NORMS, 0.07),
    ("parallel_adapter", T5, {"bottleneck_dim": 2, "train_norms": True}, 92_208, T5_NORMS, 0.06),
    ("houlsby", T5, {"bottleneck_dim": 24}, 1_807_488, T5_NORMS, 0.832),
    ("houlsby", T5, {"reduction_factor": 32}, 1_807_488, T5_NORMS, 0.832),
    ("pfeiffer_attn", T5, {"bottleneck_dim": 24}, 903_744, T5_NORMS, 0.427),
    ("adapter_drop", T5, {"bottleneck_dim": 24}, 1_054_368, T5_NORMS, 0.494),
    ("adapter_drop", T5, {"bottleneck_dim": 24, "skip_first": 5}, 1_054_368, T5_NORMS, 0.494),
    ("adapter_lowrank", T5, {"bottleneck_dim": 24}, 114_048, T5_NORMS, 0.073),
    ("phm_adapter", T5, {"bottleneck_dim": 24, "phm_dim": 12}, 351_360, T5_NORMS, 0.179),
    ("compacter", T5, {"bottleneck_dim": 24, "phm_dim": 4}, 114_112, T5_NORMS, 0.073),
    ("compacter_pp", T5, {"bottleneck_dim": 24, "phm_dim": 4}, 57_088, T5_NORMS, 0.047),
    ("bitfit", T5, {}, 248_832 + 32_128, 0, 0.126),  # the paper's vocabulary is cut to 32,100: 280,932
    ("prompt_tuning", T5, {"prompt_length": 100}, 76_800, 0, 0.034),
    ("hadamard", BERT, {}, 18_432, 18_432, 0.033),
    ("hadamard", BERT, {"layers": "last:8"}, 12_288, 12_288, 0.022),
    ("kernel_mix", ROBERTA, {}, 608_256, 0, None),
    ("lora", BERT, {"rank": 8}, 294_912, 0, None),
    ("lora", ROBERTA, {"rank": 8}, 294_912, 0, None),
    ("ia3", BERT, {}, 55_296, 0, None),
    ("pfeiffer", BERT, {"bottleneck_dim": 48, "train_norms": False}, 894_528, 0, None),
    ("houlsby", BERT, {"bottleneck_dim": 64, "train_norms": False}, 2_379_264, 0, None),
    ("ln_tuning", BERT, {}, 0, 36_864, None),
]


@cache
def _model(name: str) -> ModelSpec:
    return ModelSpec.model_validate(choice("model", name))


@cache
def _counts(method_name: str, model_name: str, fields: tuple[tuple[str, Any], ...]) -> tuple[Params, int]:
    """Parameters counted on the meta model, and the method's closed form."""
    method = method_named(method_name)
    spec = method.Spec(method=method_name, **dict(fields))
    form = "text" if model_name == T5 else "head"
    model, layout = skeleton(_model(model_name), form, 2, False)
    tuned = attach(model, method, spec, layout)
    return count_params(tuned), method.count(spec, layout)


@pytest.mark.parametrize(("method", "model", "fields", "adapter", "norms", "printed"), ROWS)
def test_count(
    method: str, model: str, fields: dict[str, Any], adapter: int, norms: int, printed: float | None
) -> None:
    counted, closed_form = _counts(method, model, tuple(fields.items()))
    assert (counted.adapter, counted.norm, counted.other) == (adapter, norms, 0)
    assert closed_form == adapter
    assert counted.backbone == BACKBONES[model]
    if printed is not None:
        digits = len(str(printed).partition(".")[2])
        # The Compacter paper divides by a vocabulary cut to 32,100: one unit of the last digit is theirs.
        assert counted.tuned_percent == pytest.approx(printed, abs=1.01 * 10**-digits)


def test_one_tensor_of_slow_weights_in_t5_base() -> None:
    """114,112 = 48·2376 + 64: with a copy in each of the 96 projections it would be 120,192."""
    counted, _ = _counts("compacter", T5, (("bottleneck_dim", 24), ("phm_dim", 4)))
    assert counted.adapter - 48 * 2376 == 4**3


def test_robertas_head_is_a_column_of_its_own() -> None:
    counted, _ = _counts("lora", ROBERTA, (("rank", 8),))
    assert counted.head == 592_130
    assert counted.trainable == 592_130 + 294_912
