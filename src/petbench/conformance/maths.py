"""The conformance checks of a method's formula: its adapters alone, without the model, in float64."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from petbench.adapters.adapter import Adapter, Attachment
from petbench.conformance.case import Case, NotApplicable


def fast_path(case: Case) -> None:
    """5. Fast path equals the slow reference in float64, forward and gradients, training and evaluation."""
    for attachment in _kinds(case):
        adapter, source, target = _double(attachment)
        weight = torch.randn_like(target)
        gradients = []
        for path in (adapter, adapter.reference):
            inputs = [t.detach().requires_grad_() for t in (source, target)]
            out = path(*inputs)
            wanted = [*inputs, *adapter.parameters()]
            gradients.append([out, *torch.autograd.grad((out * weight).sum(), wanted, allow_unused=True)])
        for fast, slow in zip(*gradients, strict=True):
            assert _near(fast, slow), (
                f"{attachment.key}: fast path and reference differ by {_gap(fast, slow):.1e}"
            )
        adapter.eval()
        with torch.no_grad():
            for _ in range(2):  # the second call may use what the first has folded
                assert _near(adapter(source, target), gradients[1][0]), (
                    f"{attachment.key}: evaluation differs"
                )


def gradients(case: Case) -> None:
    """5. Float64 gradients of the method's own maths equal finite differences."""
    for attachment in _kinds(case):
        adapter, source, target = _double(attachment)
        names = [name for name, _ in adapter.named_parameters()]

        def output(source: Tensor, target: Tensor, *values: Tensor) -> Tensor:
            given = dict(zip(names, values, strict=True))  # noqa: B023
            return torch.func.functional_call(adapter, given, (source, target))  # noqa: B023

        inputs = [t.detach().clone().requires_grad_() for t in (source, target, *adapter.parameters())]
        assert torch.autograd.gradcheck(output, inputs, fast_mode=True, eps=1e-6, atol=1e-5)


def lanes(case: Case) -> None:
    """14. Lanes: one adapter under torch.func.vmap, on the stacked values of two runs, equals the two runs, also in
    gradients."""
    for attachment in _kinds(case):
        adapter, source, target = _double(attachment)
        other, *_ = _double(attachment, seed=1)
        weights = [dict(a.named_parameters()) for a in (adapter, other)]
        stacked = {
            name: torch.stack([w[name] for w in weights]).detach().requires_grad_() for name in weights[0]
        }
        sources, targets = torch.stack([source, source + 1]), torch.stack([target, target + 1])

        def lane(values: dict[str, Tensor], source: Tensor, target: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(adapter, values, (source, target))  # noqa: B023
            return out

        for training in (True, False):
            adapter.train(training)
            together = torch.func.vmap(lane)(stacked, sources, targets)
            alone = torch.stack([adapter.reference(source, target), other.reference(source + 1, target + 1)])
            assert _near(together, alone), (
                f"{attachment.key}: two lanes differ by {_gap(together, alone):.1e}"
            )
            with torch.no_grad():
                assert _near(torch.func.vmap(lane)(stacked, sources, targets), alone), (
                    f"{attachment.key}: no_grad"
                )
        gradients = torch.autograd.grad((together * targets).sum(), list(stacked.values()), allow_unused=True)
        solo = torch.autograd.grad(
            (alone * targets).sum(), [w[n] for w in weights for n in w], allow_unused=True
        )
        for number, name in enumerate(stacked):
            pair = [solo[number], solo[number + len(stacked)]]
            expected = None if pair[0] is None else torch.stack([g for g in pair if g is not None])
            assert _near(gradients[number], expected), (
                f"{attachment.key}: lanes change the gradient of {name}"
            )


def _kinds(case: Case) -> Iterator[Attachment]:
    """One attachment of every role, part and suffix; none whose adapter changes no tensor of a site."""
    seen: dict[tuple[str, str, str], Attachment] = {}
    for attachment in case.method.attachments(case.spec, case.backbone.layout):
        if isinstance(attachment.adapter, Adapter):
            seen.setdefault((attachment.site.role, attachment.site.part, attachment.suffix), attachment)
    if not seen:
        raise NotApplicable("no adapters at sites")
    yield from seen.values()


def _double(attachment: Attachment, seed: int = 0) -> tuple[Adapter, Tensor, Tensor]:
    """The adapter in float64, every value disturbed, with a source and a target of its site."""
    generator = torch.Generator().manual_seed(seed)
    assert isinstance(attachment.adapter, Adapter)
    adapter = copy.deepcopy(attachment.adapter).double()
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).double() * 0.1)
    site, reads = attachment.site, attachment.reads
    d_source = site.d_in if reads is None else reads.d_out
    d_target = site.d_in if attachment.at == "input" else site.d_out
    source, target = (torch.randn(2, 3, d, generator=generator).double() for d in (d_source, d_target))
    return adapter, source, source if attachment.at == "input" else target


def _gap(first: Tensor | None, second: Tensor | None) -> float:
    """The largest difference; an absent gradient counts as zero."""
    if first is None or second is None:
        given = first if second is None else second
        return 0.0 if given is None else float(given.detach().abs().max())
    return float((first - second).detach().abs().max())


def _near(first: Tensor | None, second: Tensor | None) -> bool:
    return _gap(first, second) <= 1e-10 * max(
        1.0, 0.0 if second is None else float(second.detach().abs().max())
    )
