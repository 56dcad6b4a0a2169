"""Hooks: what hangs where, taken off without a trace, folded in and out bit for bit."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.hooks import OWNER, HookedAdapters, install_hooks
from petbench.errors import UserError
from petbench.models.checkpointing import enable_checkpointing
from petbench.models.sites import Site
from tiny_models import backbone, batch, logits, tuned

MODELS = ("tiny_bert", "tiny_t5", "tiny_gpt2", "tiny_llama")


class Shift(Adapter):
    """target + w · source: a change that can be followed by hand."""

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weight))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.w * source

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target + self.w * source


class PlusBias(Adapter):
    """target + 1, which only a layer with a bias can take in."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return target + 1

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target + 1

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        bias = torch.zeros(base.weight.shape[0]) if base.bias is None else base.bias
        return Affine(base.weight, bias + 1)


class Two(nn.Module):
    """Two plain layers of width 4 and one without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.plain = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.second(self.first(x)))


def site(module: str, **more: int | tuple[int, int]) -> Site:
    return Site("query", "encoder", 0, module, 4, 4, **more)  # type: ignore[arg-type]


@pytest.fixture
def model() -> Two:
    torch.manual_seed(0)
    return Two()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))


def test_an_output_adapter_sees_input_and_output(model: Two, x: Tensor) -> None:
    bare = model.second(model.first(x) + 0.5 * x)
    install_hooks(model, [Attachment(site("first"), Shift())])
    assert torch.equal(model(x), model.plain(bare))


def test_an_input_adapter_changes_what_the_module_gets(model: Two, x: Tensor) -> None:
    expected = model.plain(model.second(model.first(x + 0.5 * x)))
    install_hooks(model, [Attachment(site("first"), Shift(), at="input")])
    assert torch.equal(model(x), expected)


def test_an_adapter_may_read_another_sites_output(model: Two, x: Tensor) -> None:
    first = model.first(x)
    expected = model.plain(model.second(first) + 0.5 * first)
    install_hooks(model, [Attachment(site("second"), Shift(), reads=site("first"))])
    assert torch.equal(model(x), expected)


def test_what_is_read_is_not_kept_and_not_stale(model: Two, x: Tensor) -> None:
    install_hooks(model, [Attachment(site("second"), Shift(), reads=site("first"))])
    model(x)
    with pytest.raises(RuntimeError, match="has not run in this forward call"):
        model.second(x)


def test_a_slice_of_a_fused_output_changes_alone(model: Two, x: Tensor) -> None:
    before = model.first(x).clone()
    install_hooks(model, [Attachment(site("first", columns=(1, 3)), PlusBias())])
    after = model.first(x)
    assert torch.equal(after[..., [0, 3]], before[..., [0, 3]])
    assert torch.equal(after[..., 1:3], before[..., 1:3] + 1)


def test_two_attachments_of_one_key_are_refused(model: Two) -> None:
    with pytest.raises(ValueError, match=r"share a key: \['encoder_0_query', 'encoder_0_query'\]"):
        install_hooks(model, [Attachment(site("first"), Shift()), Attachment(site("first"), Shift())])


def test_two_adapters_on_one_site_act_in_order(model: Two, x: Tensor) -> None:
    first = model.first(x)
    expected = (first + 0.5 * x) + 0.25 * x
    install_hooks(
        model,
        [
            Attachment(site("first"), Shift(0.5), suffix="a"),
            Attachment(site("first"), Shift(0.25), suffix="b"),
        ],
    )
    assert torch.equal(model.first(x), expected)


def test_a_layer_without_bias_refuses_one_and_stays_as_it_was(model: Two, x: Tensor) -> None:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    installed = install_hooks(
        model,
        [
            Attachment(site("first"), PlusBias(), suffix="a"),
            Attachment(site("plain"), PlusBias(), suffix="b"),
        ],
    )
    before = model(x)
    with pytest.raises(UserError, match=r"needs a bias there and this architecture's layer has none"):
        installed.merge()
    assert torch.equal(model(x), before)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


def test_what_no_layer_equals_refuses_to_merge(model: Two) -> None:
    installed = install_hooks(model, [Attachment(site("first"), Shift(), at="parallel")])
    with pytest.raises(UserError, match="Shift acts parallel to query and cannot be merged: no plain layer"):
        installed.merge()


def test_merging_twice_is_merging_once(model: Two, x: Tensor) -> None:
    before = model.first.bias.clone()
    installed = install_hooks(model, [Attachment(site("first"), PlusBias())])
    installed.merge()
    installed.merge()
    assert torch.equal(model.first.bias, before + 1)
    assert not installed.on
    installed.unmerge()
    assert torch.equal(model.first.bias, before)
    assert installed.on


@pytest.mark.parametrize("name", MODELS)
def test_taken_off_the_model_is_the_backbone_bit_for_bit(name: str) -> None:
    made = backbone(name)
    values = {key: value.clone() for key, value in made.model.state_dict().items()}
    bare = logits(made.model, batch(name))
    adapted = tuned(name, "krona", made)
    assert not torch.equal(logits(adapted.model, batch(name)), bare)
    with adapted.disabled():
        assert torch.equal(logits(adapted.model, batch(name)), bare)
    installed = adapted.installed
    assert isinstance(installed, HookedAdapters)
    installed.remove()
    assert not hasattr(made.model, OWNER)
    assert torch.equal(logits(made.model, batch(name)), bare)
    after = made.model.state_dict()
    assert after.keys() == values.keys()
    assert all(torch.equal(after[key], value) for key, value in values.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.model.modules())


@pytest.mark.parametrize("method", ["krona", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_merge_is_the_adapter_and_unmerge_is_bit_equal(name: str, method: str) -> None:
    made = backbone(name)
    values = {key: value.clone() for key, value in made.model.state_dict().items()}
    adapted = tuned(name, method, made, train_norms=False)
    before = logits(adapted.model, batch(name))
    adapted.merge()
    merged = logits(adapted.model, batch(name))
    assert float((merged - before).abs().max()) < 2e-5 * float(before.abs().max() + 1)
    changed = [
        key for key, value in values.items() if not torch.equal(adapted.model.state_dict()[key], value)
    ]
    assert len(changed) == len({site.module for site in _sites(adapted)})
    adapted.unmerge()
    assert torch.equal(logits(adapted.model, batch(name)), before)
    assert all(torch.equal(adapted.model.state_dict()[key], value) for key, value in values.items())


def _sites(adapted: object) -> list[Site]:
    installed = adapted.installed  # type: ignore[attr-defined]
    return [attachment.site for attachment in installed.attachments]


def test_gpt2s_fused_projection_changes_in_its_own_columns() -> None:
    """Conv1D stores (in, out): query is the first third of the columns, value the last."""
    adapted = tuned("tiny_gpt2", "krona", train_norms=False)
    (fused,) = {site.module for site in _sites(adapted) if site.layer == 0}
    module = adapted.model.get_submodule(fused)
    width = module.weight.shape[0]
    before = module.weight.detach().clone()
    adapted.merge()
    moved = (module.weight.detach() != before).any(dim=0)
    assert moved[:width].all()
    assert not moved[width : 2 * width].any()
    assert moved[2 * width :].all()


def test_berts_parallel_adapter_is_ffn_plus_adapter_of_its_input() -> None:
    """The hook adds to the residual argument: LayerNorm(FFN(x) + x + s · (relu(x D + b) U + c))."""
    adapted = tuned("tiny_bert", "parallel_adapter", bottleneck_dim=4, reduction_factor=None)
    layer = adapted.model.get_submodule("bert.encoder.layer.0")
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
    own = _adapter_of_layer_0(adapted)
    with torch.no_grad():
        change = own.scale * (F.relu(x @ own.down.t() + own.down_bias) @ own.up.t() + own.up_bias)
        ffn = layer.output.dense(layer.intermediate(x))
        expected = layer.output.LayerNorm(ffn + x + change)
        found = layer.output(layer.intermediate(x), x)
    assert float((found - expected).abs().max()) < 1e-5
    assert float(change.abs().max()) > 0.1  # there was something to see


def _adapter_of_layer_0(adapted: object) -> nn.Module:
    installed = adapted.installed  # type: ignore[attr-defined]
    return next(a.adapter for a in installed.attachments if a.site.layer == 0)  # type: ignore[no-any-return]


def test_gradients_are_equal_with_and_without_checkpointing() -> None:
    grads = []
    for checkpointing in (False, True):
        adapted = tuned("tiny_bert", "krona")
        adapted.model.train()
        for module in adapted.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if checkpointing:
            enable_checkpointing(adapted.model)
        values = batch("tiny_bert") | {"labels": torch.tensor([0, 1])}
        adapted.model(**values).loss.backward()
        grads.append({n: p.grad.clone() for n, p in adapted.model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() == adapted.trained_names
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


@pytest.mark.parametrize("method", ["kernel_mix", "krona", "hadamard", "krona_b", "lora"])
def test_an_adapter_keeps_its_targets_dtype_under_autocast(method: str) -> None:
    # DeBERTa masks its bf16 scores with the smallest number of the query's dtype: a float32 query overflows.
    made = tuned("tiny_deberta", method)
    values = batch("tiny_deberta")
    plain = logits(made.model, values)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(made.model, values).float(), plain, rtol=0.1, atol=0.1)
