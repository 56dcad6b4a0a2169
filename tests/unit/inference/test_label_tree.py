"""Scores of label strings against the slow way, and against what the model writes."""

from typing import Any

import pytest
import torch
from tests.tiny_models import backbone
from torch import Tensor

from petbench.config.tree import options
from petbench.errors import UserError
from petbench.inference.label_tree import label_scores, label_tree, written_answers
from petbench.models.load import Backbone
from petbench.tuned.own_model import attach_by_name

# Shared prefixes, a label that is a prefix of another but for its end, several lengths.
LABELS = [[18, 84, 86, 1], [18, 84, 88, 1], [18, 1], [5, 7, 9, 11, 1], [300, 1], [1]]


def batch_of(rows: int = 4, tokens: int = 11) -> dict[str, Tensor]:
    """Random tokens; two rows end in padding."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 1000, (rows, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    mask[-1, 2:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@torch.no_grad()
def one_by_one(model: Any, batch: dict[str, Tensor], labels: list[list[int]]) -> Tensor:
    """The obvious way: the whole model once for each label string."""
    columns = []
    for label in labels:
        target = torch.tensor([label] * len(batch["input_ids"]))
        odds = model(**batch, labels=target).logits.float().log_softmax(-1)
        columns.append(odds.gather(-1, target.unsqueeze(-1)).squeeze(-1).sum(-1))
    return torch.stack(columns, dim=1)


def test_the_tree_holds_every_prefix_once() -> None:
    tree = label_tree(((4, 5, 1), (4, 6, 1), (7, 1)))
    assert tree.tokens[1:] == (4, 5, 6, 7) and tree.parents == (0, 0, 1, 1, 0)
    assert tree.depths == (0, 1, 2, 2, 1)
    assert [[tree.edges[edge][1] for edge in path] for path in tree.paths] == [[4, 5, 1], [4, 6, 1], [7, 1]]
    assert len(tree.edges) == 7  # 4, 7; 5, 6; three ends
    assert tree.sees.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("name", ["tiny_t5", "tiny_t5_gated"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_scores_equal_the_obvious_way(name: str, attention: str) -> None:
    model = backbone(name).model
    model.set_attn_implementation(attention)
    batch = batch_of()
    wanted = one_by_one(model, batch, LABELS)
    assert wanted.std(0).min() > 1e-3  # the rows differ, so a wrong encoder mask would show
    torch.testing.assert_close(label_scores(model, batch, LABELS), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("adapter", options("adapter"))
def test_scores_hold_with_every_method(adapter: str) -> None:
    made: Backbone = backbone("tiny_t5")
    try:
        extra = {"peft_type": "LORA"} if adapter == "peft/custom" else {}
        tuned = attach_by_name(made.model, adapter, seed=1, **extra)
    except UserError as error:
        pytest.skip(str(error))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in tuned.model.named_parameters():
            if name in tuned.trained_names:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    tuned.model.eval()
    batch = batch_of()
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in tuned.model.modules()]
    found = label_scores(tuned.model, batch, LABELS)
    torch.testing.assert_close(found, one_by_one(tuned.model, batch, LABELS), rtol=0, atol=1e-5)
    assert before == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in tuned.model.modules()]


def test_scores_are_log_likelihoods() -> None:
    """All strings of one token and the end, and the ways to go on after the token, sum to one."""
    model = backbone("tiny_t5").model
    batch = batch_of(rows=2)
    every = [[token] for token in range(model.config.vocab_size)]
    torch.testing.assert_close(
        label_scores(model, batch, every).exp().sum(-1), torch.ones(2), rtol=0, atol=1e-5
    )


def test_scores_under_bf16_autocast_equal_the_obvious_way_there() -> None:
    model = backbone("tiny_t5").model
    batch = batch_of()
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = label_scores(model, batch, LABELS), one_by_one(model, batch, LABELS)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.1)  # bf16 steps near 30 nats are 0.125
    assert found.dtype == torch.float32


def test_many_rows_in_pieces_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = backbone("tiny_t5").model
    batch = batch_of(rows=5)
    whole = label_scores(model, batch, LABELS)
    monkeypatch.setattr("petbench.inference.label_tree.LOGIT_ROWS", 3)  # fewer than one row has nodes
    torch.testing.assert_close(label_scores(model, batch, LABELS), whole, rtol=0, atol=1e-6)


def test_scoring_and_writing_agree_where_writing_is_legal() -> None:
    """A tiny T5 that has learned its rows: every answer it writes is a label, and it is the likeliest one."""
    made = backbone("tiny_t5")
    model, tokenizer = made.model.train(), made.tokenizer
    strings = ["entailment", "not_entailment", "0.2", "3.8"]
    labels = [list(ids) for ids in tokenizer(strings)["input_ids"]]
    batch = batch_of(rows=12)
    wanted = [row % len(strings) for row in range(12)]
    longest = max(map(len, labels))
    targets = torch.tensor([labels[k] + [-100] * (longest - len(labels[k])) for k in wanted])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.eval()  # no dropout: it has to learn by heart
    for _ in range(60):
        loss = model(**batch, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    scored = label_scores(model, batch, labels).argmax(-1).tolist()
    written, finite = written_answers(model, batch, tokenizer, longest)
    assert finite.tolist() == [True] * 12
    assert [strings.index(text.strip()) for text in written] == scored == wanted
