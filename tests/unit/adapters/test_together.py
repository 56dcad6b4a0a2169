"""Matrices made together for all adapters of a model give the values and gradients of each one's own."""

from types import SimpleNamespace
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
    "kernel_mix in evaluation, of dropout": {"dropout": 0.5},
    "lora of three that read one tensor": {"rank": 2, "alpha": 1.0, "targets": ["query", "key", "value"]},
    "lora in evaluation, of dropout": {"rank": 2, "alpha": 1.0, "dropout": 0.5},
    "houlsby": {"bottleneck_dim": 8},
    "houlsby with tanh": {"bottleneck_dim": 8, "nonlinearity": "tanh"},
    "houlsby with silu": {"bottleneck_dim": 8, "nonlinearity": "silu"},
    "houlsby with relu": {"bottleneck_dim": 8, "nonlinearity": "relu"},
    "adapter_lowrank": {"bottleneck_dim": 8, "rank": 2},
    "phm_adapter": {"bottleneck_dim": 8},
    "compacter": {"bottleneck_dim": 8},
}


def make(case: str, model: str) -> Tuned:
    made = tuned(model, case.split()[0], **SMALL[case])
    if "relu" in case:  # away from its kink, where bf16's rounding may change a gradient by any amount
        with torch.no_grad():
            for name, parameter in made.model.named_parameters():
                if name in made.adapter_names and name.endswith("down.bias"):
                    parameter += 4 * (-1.0) ** torch.arange(len(parameter))
    return made


def loss_and_gradients(
    model: Any, inputs: dict[str, Tensor], lower: bool, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """In evaluation mode, so that no dropout is drawn, with gradients. lower: under bf16's autocast."""
    model.to(dtype).eval().zero_grad()
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
    for lower, dtype, near in (
        (False, torch.float64, 1e-12),
        (False, torch.float32, 2e-5),
        (True, torch.float32, 2e-5),
    ):
        own = loss_and_gradients(one.model, inputs, lower, dtype)
        with monkeypatch.context() as patch:
            patch.setattr(together, "bound_by_launches", lambda adapter: True)
            joint = loss_and_gradients(one.model, inputs, lower, dtype)
        exact = exact or own  # float64 comes first
        assert own.keys() == joint.keys()
        for name, value in exact.items():
            size, far = value.norm() + 1e-6, (joint[name] - value).norm()
            rounded = (own[name] - value).norm()  # by bf16, as far as the usual way rounds
            # In float32 the usual way itself may be farther off than `near`, by the CPU's kernels: no farther than it.
            held = near * size + 3 * rounded + 0.1 * size if lower else max(near * size, rounded)
            assert far <= held, (name, lower)
    assert made == [1, 1, 1]  # once a forward pass


@pytest.mark.parametrize(
    ("case", "model", "products"),
    [
        ("lora", "tiny_bert", 2),  # one a layer, for query and value
        ("lora of three that read one tensor", "tiny_bert", 2),
        ("lora in evaluation, of dropout", "tiny_bert", 4),  # each would draw its own mask
        ("lora", "tiny_gpt2", 2),
        ("lora", "tiny_t5", 8),  # cross-attention's query reads the decoder, its value the encoder
        ("lora of three that read one tensor", "tiny_t5", 8),
        ("kernel_mix", "tiny_bert", 6),  # query and the value's shared part; the value's heads; the output
    ],
)
def test_adapters_that_read_one_tensor_multiply_it_once(
    case: str, model: str, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def linear(*arguments: Tensor) -> Tensor:
        called.append(1)
        return torch.nn.functional.linear(*arguments)

    monkeypatch.setattr(together, "F", SimpleNamespace(linear=linear))
    monkeypatch.setattr(together, "bound_by_launches", lambda adapter: True)
    one = make(case, model)
    one.model.eval()(**batch(model))
    assert len(called) == products


@pytest.mark.parametrize("nonlinearity", ["gelu_new", "gelu", "relu", "silu", "tanh"])
def test_a_bottlenecks_bias_is_added_by_the_product_to_the_bit(nonlinearity: str) -> None:
    """With U = 0 the change is b_U alone, whatever the input; in float32 silu(16) is one bit below 16."""
    one = tuned("tiny_bert", "houlsby", bottleneck_dim=8, nonlinearity=nonlinearity)
    adapter: Any = one.installed.attachments[0].adapter
    with torch.no_grad():
        adapter.up.weight.zero_()
        down, constant, up = (each[0] for each in adapter.matrices_of(*(p[None] for p in adapter.parts())))
        x = torch.randn(3, down.shape[1], generator=torch.Generator().manual_seed(0))
        change = adapter.activation(x @ down.t() + constant) @ up.t()
    assert down.shape[0] == constant.shape[0] == up.shape[1] == 16
    assert torch.equal(change, adapter.up.bias.expand(3, -1))


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
    kept = "_armed", "_made", "_firsts", "_cast", "_products"
    assert [getattr(state, name) for name in kept] == [False, {}, {}, None, None]
    head = one.model.get_submodule("classifier")
    head.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        one.model(**batch("tiny_bert"))
    assert [getattr(state, name) for name in kept] == [False, {}, {}, None, None]
