"""Kernel-mix: low-rank changes of query, value and output, head by head, and shared by all heads.

With X (tokens, d) the layer's input, K_i and O_i (tokens, p) the frozen key and the context of head i:

    query    Q_i += drop(X) A_i B_i + [drop(X) C D]_i + b_i         A (d, r_q), B (r_q, p), C (d, s_q), D (s_q, d)
    value    V_i += drop(K_i) A_i B_i + [drop(X) C D]_i + b_i       A (p, r_v), B (r_v, p), C (d, s_v), D (s_v, d)
    output   Y += concat_i(drop(O_i) A_i) B + drop(O) C D + b       A (p, r_v), B (h·r_v, d), C (d, s_v), D (s_v, d)

With h heads: query h·r_q(d + p) + 2·s_q·d + d, value 2·h·p·r_v + 2·s_v·d + d, output h·r_v(p + d) + 2·s_v·d + d
parameters. Every change is linear in X, so it merges exactly (the value's per-head part through W_K, which itself
stays frozen). The lite forms have no shared part. Each pair draws its own dropout mask. Init `lora` (`He` in the
authors' code): A uniform within ±1/√(r·p), in the query ±1/√(r·d), C within ±1/√d, the rest zero, so step 0 is the
backbone. Init `houlsby` (the released one): every entry is 0.01 · fmod(N(0, 1), 2), so step 0 is not the backbone.

Chen, Hazarika, Namazifar, Liu, Jin and Hakkani-Tur, Empowering parameter-efficient transfer learning by
recognizing the kernel structure in self-attention, Findings of NAACL 2022, arXiv 2205.03720.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.folding import FoldingAdapter
from petbench.adapters.maths.lowrank import lowrank_product, thin_product
from petbench.adapters.method import Method, target_sites
from petbench.adapters.registry import register
from petbench.adapters.together import TogetherAdapter
from petbench.config.sections import AdapterSpec, Fraction, PositiveInt
from petbench.errors import UserError
from petbench.models.sites import Layout, Site

Rank = Annotated[int, Field(ge=0)]
TARGETS = ("query", "value", "attention_output")


class KernelMixSpec(AdapterSpec):
    """Ranks of the per-head pairs and of the pairs shared by all heads (0: none)."""

    targets: tuple[str, ...] = TARGETS
    query_rank: PositiveInt = 1  # r_q
    value_rank: PositiveInt = 2  # r_v, of value and output
    shared_query_rank: Rank = 2  # s_q
    shared_value_rank: Rank = 4  # s_v, of value and output
    bias: bool = True
    init: Literal["lora", "houlsby"] = "lora"
    dropout: Fraction = 0.0


class KernelMixAdapter(FoldingAdapter, TogetherAdapter):
    """target + [drop(source) A_i B_i for each head i] + drop(source) C D + b, as two thin products.

    A (heads, r, width of one head's input), B (heads, p, r) or, with `mixes`, (d_out, heads·r); C (s, d_in),
    D (d_out, s). `splits`: each head reads its own part of the source; otherwise each reads all of it.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        heads: int,
        rank: int,
        shared_rank: int,
        *,
        splits: bool,
        mixes: bool,
        bias: bool,
        init: Literal["lora", "houlsby"],
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.splits, self.mixes, self.dropout = heads, splits, mixes, dropout
        if rank:
            self.A = nn.Parameter(torch.empty(heads, rank, d_in // heads if splits else d_in))
            self.B = nn.Parameter(
                torch.zeros((d_out, heads * rank) if mixes else (heads, d_out // heads, rank))
            )
        if shared_rank:
            self.C = nn.Parameter(torch.empty(shared_rank, d_in))
            self.D = nn.Parameter(torch.zeros(d_out, shared_rank))
        self.b = nn.Parameter(torch.zeros(d_out)) if bias else None
        self.has_heads, self.has_shared = bool(rank), bool(shared_rank)
        # What `matrices_of` needs besides parameters, kept so that no step makes it anew.
        self.constant: Tensor
        self.eye: Tensor
        constant = torch.zeros(heads * rank + shared_rank + bias)
        constant[len(constant) - bias :] = 1
        self.register_buffer("constant", constant, persistent=False)
        self.register_buffer("eye", torch.eye(heads), persistent=False)
        self._init(init)

    @torch.no_grad()
    def _init(self, init: str) -> None:
        if init == "houlsby":
            for parameter in self.parameters():
                parameter.copy_(torch.fmod(torch.randn(parameter.shape), 2) * 0.01)
            return
        for name, parameter in self.named_parameters():
            if name in ("A", "C"):  # A is (h, r, width), so its fan-in is r·width, as in the authors' code
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(down (k, d_in), up (d_out, k)) of all heads, block-diagonal, then of the shared part; k is h·r and s."""
        found = []
        if self.has_heads:
            heads, rank, _ = self.A.shape
            down = _block_diagonal(self.A, self.eye) if self.splits else self.A.reshape(heads * rank, -1)
            found.append((down, self.B if self.mixes else _block_diagonal(self.B, self.eye)))
        if self.has_shared:
            found.append((self.C, self.D))
        return found

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Both pairs joined: the whole change is source · downᵀ · upᵀ. down (k, d_in), up (d_out, k)."""
        downs, ups = zip(*self.pairs(), strict=True)
        return torch.cat(downs), torch.cat(ups, dim=1)

    def parts(self) -> tuple[Tensor, ...]:
        return tuple(p for p in (*self._pairs_of_parameters(), self.b) if p is not None)

    def _pairs_of_parameters(self) -> list[Tensor]:
        heads: list[Tensor] = [self.A, self.B] if self.has_heads else []
        return heads + ([self.C, self.D] if self.has_shared else [])

    def joins(self) -> bool:
        return not self.dropout

    def kind(self) -> tuple[bool, ...]:
        return self.splits, self.mixes, self.has_heads, self.has_shared

    def matrices_of(self, *stacked: Tensor) -> tuple[Tensor, ...]:
        """All pairs and the bias of n adapters joined: up (n, d_out, k + 1), down (n, k + 1, d_in), and the constant
        (n, k + 1) that is added between the two products: zeros, then a one that multiplies the bias."""
        left = list(stacked)
        downs, ups = [], []
        if self.has_heads:
            a, b = left.pop(0), left.pop(0)
            downs.append(_block_diagonal(a, self.eye) if self.splits else a.flatten(1, 2))
            ups.append(b if self.mixes else _block_diagonal(b, self.eye))
        if self.has_shared:
            downs.append(left.pop(0))
            ups.append(left.pop(0))
        n, d_in = len(downs[0]), downs[0].shape[-1]
        if left:  # the bias
            downs.append(self.constant[0].expand(n, 1, d_in))
            ups.append(left.pop(0)[:, :, None])
        return torch.cat(ups, 2), torch.cat(downs, 1), self.constant.expand(n, -1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        masked = bool(self.dropout and self.training)
        if (self.has_heads or self.has_shared) and not masked and (given := self.given()) is not None:
            return thin_product(self.first_product(source), given[0], target)
        base = target if self.b is None else target + self.b
        if not (self.has_heads or self.has_shared):
            return base
        if masked:  # a mask for each pair, as the authors draw them
            for down, up in self.pairs():
                base = lowrank_product(F.dropout(source, self.dropout), down, up, base)
            return base
        parts = [p for name, p in self._parameters.items() if name != "b" and p is not None]
        down, up = self.folded(parts, self.matrices)
        return lowrank_product(source, down, up, base)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        change = torch.zeros_like(target)
        if self.has_heads:
            rank, width = self.A.shape[1], source.shape[-1] // self.heads
            parts = []
            for i in range(self.heads):
                x = source[..., i * width : (i + 1) * width] if self.splits else source
                up = self.B[:, i * rank : (i + 1) * rank] if self.mixes else self.B[i]
                parts.append(x @ self.A[i].t() @ up.t())
            change = change + (sum(parts) if self.mixes else torch.cat(parts, dim=-1))
        if self.has_shared:
            change = change + source @ self.C.t() @ self.D.t()
        return target + change + (0 if self.b is None else self.b)

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        weight, bias = base
        if self.b is not None:
            bias = self.b if bias is None else bias + self.b
        if not (self.has_heads or self.has_shared):
            return Affine(weight, bias)
        down, up = self.matrices()
        if read is None:
            return Affine(weight + up @ down, bias)
        if read.bias is not None:
            moved = up @ (down @ read.bias)
            bias = moved if bias is None else bias + moved
        return Affine(weight + up @ (down @ read.weight), bias)


def _block_diagonal(blocks: Tensor, eye: Tensor) -> Tensor:
    """(..., n, rows, columns) -> (..., n·rows, n·columns) with the blocks on the diagonal; eye (n, n)."""
    *lead, n, rows, columns = blocks.shape
    return (blocks[..., None, :] * eye[:, None, :, None]).reshape(*lead, n * rows, n * columns)


@register
class KernelMix(Method[KernelMixSpec]):
    """Per-head and shared low-rank changes of query, value and output."""

    name = "kernel_mix"
    Spec = KernelMixSpec

    def _places(self, spec: KernelMixSpec, layout: Layout) -> list[Site]:
        wrong = [role for role in spec.targets if role not in TARGETS]
        if wrong:
            raise UserError(f"adapter.targets: got {wrong}. Legal for kernel_mix: {', '.join(TARGETS)}.")
        sites = target_sites(spec.targets, spec, layout)
        for site in sites:
            self._check(spec, site)
        return sites

    def _check(self, spec: KernelMixSpec, site: Site) -> None:
        """Raise UserError when a rank exceeds what its pair can hold."""
        query = site.role == "query"
        head = (site.d_in if site.role == "attention_output" else site.d_out) // site.heads
        for field, most in (
            ("query_rank" if query else "value_rank", head),
            ("shared_query_rank" if query else "shared_value_rank", min(site.d_in, site.d_out)),
        ):
            if getattr(spec, field) > most:
                raise UserError(
                    f"adapter.{field} {getattr(spec, field)} does not fit {site}, which has {site.heads} heads of "
                    f"{head}: legal are up to {most}."
                )

    def attachments(self, spec: KernelMixSpec, layout: Layout) -> Iterable[Attachment]:
        for site in self._places(spec, layout):
            yield from self._at(spec, layout, site)

    def _at(self, spec: KernelMixSpec, layout: Layout, site: Site) -> Iterator[Attachment]:
        def adapter(d_in: int, rank: int, shared: int, **flags: bool) -> Adapter:
            sizes = (d_in, site.d_out, site.heads, rank, shared)
            return KernelMixAdapter(*sizes, **flags, init=spec.init, dropout=spec.dropout)

        if site.role == "query":
            ranks = spec.query_rank, spec.shared_query_rank
            yield Attachment(site, adapter(site.d_in, *ranks, splits=False, mixes=False, bias=spec.bias))
        elif site.role == "attention_output":
            ranks = spec.value_rank, spec.shared_value_rank
            yield Attachment(site, adapter(site.d_in, *ranks, splits=True, mixes=True, bias=spec.bias))
        else:  # the value's heads read the key of the same call, its shared part the layer's input
            key = next(
                s
                for s in layout.sites("key", attention=site.attention, stack=site.stack)
                if s.layer == site.layer
            )
            heads = adapter(key.d_out, spec.value_rank, 0, splits=True, mixes=False, bias=spec.bias)
            yield Attachment(site, heads, reads=key, suffix="from_key")
            if spec.shared_value_rank:
                shared = adapter(site.d_in, 0, spec.shared_value_rank, splits=False, mixes=False, bias=False)
                yield Attachment(site, shared)

    def count(self, spec: KernelMixSpec, layout: Layout) -> int:
        total = 0
        for site in self._places(spec, layout):
            query, h, d_out = site.role == "query", site.heads, site.d_out
            rank = spec.query_rank if query else spec.value_rank
            shared = spec.shared_query_rank if query else spec.shared_value_rank
            if query:
                total += rank * (h * site.d_in + d_out)
            elif site.role == "value":
                total += rank * 2 * d_out
            else:
                total += rank * (site.d_in + h * d_out)
            total += shared * (site.d_in + d_out) + (d_out if spec.bias else 0)
        return total

    def identity_at_init(self, spec: KernelMixSpec) -> bool:
        return spec.init == "lora"

    def mergeable(self, spec: KernelMixSpec, layout: Layout) -> bool:
        # Where the backbone's layers have no bias, neither the method's nor the key's can be merged.
        return not spec.bias or all(site.bias for site in self._places(spec, layout))

    def sizes(self, spec: KernelMixSpec, layout: Layout) -> Iterable[KernelMixSpec]:
        """Ranks in the released proportion 1 : 2 : 2 : 4, times 1, 2, 3, ...; a lite form gets no shared part."""
        head = min(s.d_out // s.heads for s in layout.sites("value"))
        for times in range(1, head // 2 + 1):
            size = {"query_rank": times, "value_rank": 2 * times}
            if spec.shared_query_rank:
                size["shared_query_rank"] = 2 * times
            if spec.shared_value_rank:
                size["shared_value_rank"] = 4 * times
            yield spec.model_copy(update=size)
