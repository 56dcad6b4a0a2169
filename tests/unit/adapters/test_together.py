"""Matrices made together for all adapters of a model give the values and gradients of each one's own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from petbench.adapters import together
from petbench.models.checkpointing import enable_checkpointing
from petbench.tuned.attach import Tuned
from tiny_models import batch, tuned

SMALL: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "alpha": 2.0},
    "krona": {"scale": 2.0},
    "kernel_mix": {},
    "kernel_mix heads alone, no bias": {"shared_query_rank": 0, "shared_value_rank": 0, "bias": False},
    "houlsby": {"bottleneck_dim": 8},
    "adapter_lowrank": {"bottleneck_dim": 8, "rank": 2},
    "phm_adapter": {"bottleneck_dim": 8},
    "compacter": {"bottleneck_dim": 8},
}


def make(case: str, model: str) -> Tuned:
    return tuned(model, case.split()[0], **SMALL[case])


def loss_and_gradients(model: Any, inputs: dict[str, Tensor], lower: bool) -> dict[str, Tensor]:
    """In evaluation mode, so that no dropout is drawn, with gradients."""
    model.eval().zero_grad()
    labels = {} if "labels" in inputs else {"labels": torch.tensor([0, 1])}
    with torch.autocast("cpu", torch.bfloat16, enabled=lower):
        loss = model(**inputs, **labels).loss
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **found}


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2"])
@pytest.mark.parametrize("case", SMALL)
def test_together_is_each_on_its_own(case: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(case, model)
    inputs, exact = batch(model), {}
    make_all, made = together.Together._make, []

    def counted(self: together.Together) -> None:
        made.append(1)
        make_all(self)

    monkeypatch.setattr(together.Together, "_make", counted)
    for lower in (False, True):
        own = loss_and_gradients(one.model, inputs, lower)
        with monkeypatch.context() as patch:
            patch.setattr(together, "bound_by_launches", lambda adapter: True)
            joint = loss_and_gradients(one.model, inputs, lower)
        exact = exact or own  # float32 comes first
        assert own.keys() == joint.keys()
        for name, value in exact.items():
            size, far = value.norm() + 1e-6, (joint[name] - value).norm()
            rounded = (own[name] - value).norm()  # by bf16, as far as the usual way rounds
            assert far <= 2e-5 * size + (3 * rounded + 0.1 * size if lower else 0), (name, lower)
    assert made == [1, 1]  # once a forward pass


def test_on_a_cpu_each_makes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers on file are those of that path."""
    monkeypatch.setattr(together.Together, "_make", lambda self: 1 / 0)
    loss_and_gradients(make("lora", "tiny_bert").model, batch("tiny_bert"), True)


@pytest.mark.parametrize("why", ["no gradients", "layers that run again", "switched off", "its own call"])
def test_nothing_is_made_together_where_it_must_not(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "bound_by_launches", lambda adapter: True)
    one = make("krona", "tiny_bert")
    monkeypatch.setattr(together.Together, "_make", lambda self: 1 / 0)
    inputs = batch("tiny_bert")
    if why == "no gradients":
        with torch.no_grad():
            one.model(**inputs)
    elif why == "layers that run again":
        enable_checkpointing(one.model)
        loss_and_gradients(one.model.train(), inputs, False)
    elif why == "switched off":
        with one.disabled():
            one.model(**inputs)
    else:
        attachment = one.installed.attachments[0]
        x = torch.ones(1, 2, attachment.site.d_in)
        attachment.adapter(x, torch.ones(1, 2, attachment.site.d_out))


def test_nothing_is_kept_after_a_forward_pass_or_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "bound_by_launches", lambda adapter: True)
    one = make("lora", "tiny_bert")
    state = one.installed.attachments[0].adapter._together  # type: ignore[union-attr]
    one.model(**batch("tiny_bert"))
    assert (state._armed, state._made, state._cast) == (False, {}, None)
    head = one.model.get_submodule("classifier")
    head.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        one.model(**batch("tiny_bert"))
    assert (state._armed, state._made, state._cast) == (False, {}, None)
