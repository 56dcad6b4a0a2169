"""KronA's PEFT form: LoKr where PEFT splits both sides alike, an exact LoRA of small rank, or the nearest one."""

from collections.abc import Callable

import torch
from torch import Tensor

from petbench.adapters.adapter import Attachment
from petbench.adapters.methods.krona import KronAAdapter
from petbench.errors import UserError
from petbench.export.lowrank import ROOT, LowRank, PeftForm, attachments_of, lora_form
from petbench.models.sites import Site
from petbench.tuned.attach import Tuned

Vectors = Callable[[Tensor], tuple[Tensor, Tensor]]  # places in the order -> left (k, d_in), right (k, d_out)


def krona_form(tuned: Tuned, max_rank: int, approximate: int | None) -> PeftForm:
    """LoKr where PEFT's split of both sides gives these factors, an exact LoRA where the rank is small, or
    else the best LoRA of rank `approximate`."""
    found = attachments_of(tuned)
    factor = _lokr_factor(found)
    if factor is not None:
        return _lokr(found, factor)
    svds = [(a.site, *_kron_svd(a.adapter)) for a in found]  # type: ignore[arg-type]
    rank = max(int((values > 1e-6 * values[0]).sum()) if values[0] > 0 else 1 for _, values, _, _ in svds)
    if rank <= max_rank:
        changes = [_cut(*svd, rank) for svd in svds]
        return lora_form(changes, tuned.layout, f"exact LoRA: rank(A ⊗ B) is at most {rank}")
    if approximate is not None:
        form = lora_form([_cut(*svd, approximate) for svd in svds], tuned.layout)
        note = f"LoRA of rank {approximate}, the nearest: relative error of the changes {form.relative_error:.3f}"
        return PeftForm(form.peft_type, form.arguments, form.values, note, relative_error=form.relative_error)
    raise UserError(
        f"krona cannot be exported exactly: rank(A ⊗ B) is {rank}, more than --max-rank {max_rank}, and PEFT's LoKr "
        f"splits these layers otherwise.\nUse `petbench merge` for a plain checkpoint, --max-rank {rank}, or "
        "--approximate RANK for the nearest LoRA, its error printed."
    )


def _lokr_factor(found: list[Attachment]) -> int | None:
    """PEFT's `decompose_factor` that gives every site its factors' shapes; None when there is none."""
    from peft.tuners.lokr.layer import factorization

    if any(a.site.transposed or a.site.columns for a in found):
        return None  # PEFT's LoKr knows plain linear layers alone
    shapes = {(a.site.d_in, a.site.d_out, tuple(a.adapter.A.shape)) for a in found}  # type: ignore[arg-type]
    for factor in (-1, *(size for _, _, shape in shapes for size in shape)):
        if all(
            (factorization(d_in, factor)[0], factorization(d_out, factor)[0]) == shape
            for d_in, d_out, shape in shapes
        ):
            return int(factor)
    return None


def _lokr(found: list[Attachment], factor: int) -> PeftForm:
    values, scale = {}, 1.0
    full = 1 + max(max(a.site.d_in, a.site.d_out) for a in found)  # a rank that keeps both factors whole
    for attachment in found:
        adapter = attachment.adapter
        assert isinstance(adapter, KronAAdapter)
        scale = adapter.scale
        name = ROOT + attachment.site.module
        values[f"{name}.lokr_w1.default"] = adapter.A.detach().t()
        values[f"{name}.lokr_w2.default"] = adapter.B.detach().t()
    arguments = {
        "r": full,
        "alpha": scale * full,
        "decompose_factor": factor,
        "target_modules": [attachment.site.module for attachment in found],
    }
    return PeftForm("LOKR", arguments, values, f"LoKr with decompose_factor {factor}")


@torch.no_grad()
def _kron_svd(adapter: KronAAdapter) -> tuple[Tensor, Tensor, Vectors]:
    """Singular values of s (A ⊗ B), descending, their order, and the vectors of chosen ones.

    They are the products of those of A and B, so the big matrix is never built.
    """
    (ua, sa, va), (ub, sb, vb) = (
        torch.linalg.svd(m.detach().double(), full_matrices=False) for m in (adapter.A, adapter.B)
    )
    products = (sa[:, None] * sb[None, :]).flatten() * abs(adapter.scale)
    ordered, order = products.sort(descending=True)
    sign = 1.0 if adapter.scale >= 0 else -1.0

    def vectors(chosen: Tensor) -> tuple[Tensor, Tensor]:
        i, j = chosen // len(sb), chosen % len(sb)
        left = torch.stack([torch.kron(ua[:, m], ub[:, n]) for m, n in zip(i, j, strict=True)])  # (k, d_in)
        right = torch.stack([torch.kron(va[m], vb[n]) for m, n in zip(i, j, strict=True)])  # (k, d_out)
        return left, sign * right

    return ordered, order, vectors


def _cut(site: Site, values: Tensor, order: Tensor, vectors: Vectors, rank: int) -> LowRank:
    """The best change of that rank: the largest singular values."""
    kept = min(rank, len(values))
    left, right = vectors(order[:kept])
    roots = values[:kept].sqrt()[:, None]
    squares = (float((values**2).sum()), float((values[kept:] ** 2).sum()))
    return LowRank(site, (roots * left).float(), (roots * right).t().float(), squares)
