"""What all bottleneck adapters share: spec, module and sites; a method adds the form of its two matrices.

    h' = h + σ(h D + b_D) U + b_U        D (d, b), U (b, d), h (batch, tokens, d) a sublayer's output

The adapter acts before the sublayer's dropout and residual, and never after cross-attention.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Attachment
from petbench.adapters.folding import FoldingAdapter, may_fold
from petbench.adapters.maths.lowrank import thin_product
from petbench.adapters.method import Method
from petbench.adapters.together import TogetherAdapter
from petbench.config.sections import AdapterSpec, PositiveInt
from petbench.errors import UserError
from petbench.models.sites import Layout, Site

Nonlinearity = Literal["gelu_new", "gelu", "relu", "silu", "tanh"]
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class BottleneckSpec(AdapterSpec):
    """Hyper-parameters of every bottleneck adapter. Its width is `bottleneck_dim`, or d / `reduction_factor`."""

    bottleneck_dim: PositiveInt | None = None
    reduction_factor: Annotated[float, Field(ge=1)] | None = None
    nonlinearity: Nonlinearity = "gelu_new"
    train_norms: bool = True

    @model_validator(mode="after")
    def _one_of_both(self) -> "BottleneckSpec":
        if (self.bottleneck_dim is None) == (self.reduction_factor is None):
            raise ValueError("give one of bottleneck_dim and reduction_factor, and null for the other")
        return self

    def width(self, site: Site) -> int:
        """The bottleneck's width at a site. Raises UserError when it does not fit."""
        d = site.d_out
        if self.bottleneck_dim is not None:
            if self.bottleneck_dim > d:
                raise UserError(
                    f"adapter.bottleneck_dim {self.bottleneck_dim} does not fit {site}, which is {d} wide: "
                    f"legal are 1 to {d}."
                )
            return self.bottleneck_dim
        width = d / float(self.reduction_factor or 1)
        if width != int(width):
            raise UserError(
                f"adapter.reduction_factor {self.reduction_factor:g} does not fit {site}: {d} / "
                f"{self.reduction_factor:g} is not a whole number. Give a divisor of {d}, "
                "or adapter.bottleneck_dim."
            )
        return int(width)


class Projection(nn.Module, ABC):
    """x W + bias with W (d_in, d_out) in some form; x (..., d_in) -> (..., d_out)."""

    folds: ClassVar[bool] = True  # whether W is computed from factors

    def __init__(self, d_out: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(d_out))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The fast path."""

    @abstractmethod
    def dense(self) -> Tensor:
        """W built in full, transposed as PyTorch stores it: (d_out, d_in)."""

    @abstractmethod
    def factors(self) -> tuple[Tensor, ...]:
        """The parameters that W is computed from."""

    @abstractmethod
    def all_dense(self, *factors: Tensor) -> Tensor:
        """`dense` of m projections of one kind, (m, d_out, d_in), from their factors, each stacked to (m, …)."""


class BottleneckAdapter(FoldingAdapter, TogetherAdapter):
    """target + up(σ(down(target))); (batch, tokens, d) in and out. The source is not used."""

    def __init__(self, down: Projection, up: Projection, nonlinearity: Nonlinearity) -> None:
        super().__init__()
        self.down = down
        self.up = up
        self.activation = NONLINEARITIES[nonlinearity]
        self._folds = down.folds or up.folds

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        down, up = self.down, self.up
        if (given := self.given()) is not None:
            dense_down, constant, dense_up = given
            return thin_product(self.activation(F.linear(target, dense_down, constant)), dense_up, target)
        if not (self._folds and may_fold(self)):
            return target + up(self.activation(down(target)))
        dense_down, dense_up = self.folded(
            (*down.factors(), *up.factors()), lambda: (down.dense(), up.dense())
        )
        middle = self.activation(F.linear(target, dense_down, down.bias))
        return target + F.linear(middle, dense_up, up.bias)

    def parts(self) -> tuple[Tensor, ...]:
        return (*self.down.factors(), self.down.bias, *self.up.factors(), self.up.bias)

    def kind(self) -> tuple[type, type]:
        return type(self.down), type(self.up)

    def matrices_of(self, *stacked: Tensor) -> tuple[Tensor, ...]:
        """Dᵀ (n, b + 8, d), b_D (n, b + 8) and Uᵀ (n, d, b + 8), so that σ(h D + b_D) U adds b_U by itself.

        The units that are added are σ(16), whatever h is; the first one's row of U is b_U / σ(16), so that b_U needs no
        addition, and its gradient no sum, of its own. σ(16) is 16 in float32 (1 for tanh, a bit less for silu).
        They are eight because a GPU multiplies rows of whole 16 bytes fastest.
        """
        middle = len(self.down.factors())
        *downs, down_bias = stacked[: middle + 1]
        *ups, up_bias = stacked[middle + 1 :]
        down, up = self.down.all_dense(*downs), self.up.all_dense(*ups)
        (n, _, d), zero = down.shape, down.new_zeros(())
        last = up_bias[:, :, None] / self.activation(torch.tensor(16.0, dtype=up_bias.dtype)).item()
        return (
            torch.cat([down, zero.expand(n, 8, d)], dim=1),
            torch.cat([down_bias, down.new_full((), 16.0).expand(n, 8)], dim=1),
            torch.cat([up, last, zero.expand(n, d, 7)], dim=2),
        )

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        middle = self.activation(target @ self.down.dense().t() + self.down.bias)
        return target + middle @ self.up.dense().t() + self.up.bias


B = TypeVar("B", bound=BottleneckSpec)
Projector = Callable[[int, int], Projection]  # (d_in, d_out) -> a freshly initialised projection


class AbstractBottleneck(Method[B]):
    """A bottleneck method. A subclass gives its roles and the form of its two matrices."""

    roles: ClassVar[tuple[str, ...]] = ("attention_output", "ffn_output")

    @abstractmethod
    def projector(self, spec: B) -> Projector:
        """A function that makes a projection. Called once a model: a tensor that all projections share is made here."""

    @abstractmethod
    def check(self, spec: B, site: Site, width: int) -> None:
        """Raise UserError when the method's own sizes do not fit a site with this bottleneck."""

    @abstractmethod
    def projection_params(self, spec: B, d_in: int, d_out: int) -> int:
        """Closed form: the parameters of one projection, with its bias, without what all projections share."""

    @abstractmethod
    def shared_params(self, spec: B) -> int:
        """Closed form: the parameters that all projections share."""

    @abstractmethod
    def options(self, spec: B, d: int) -> Iterable[dict[str, int]]:
        """Fields of the spec for every size that a budget may choose, with `bottleneck_dim`; d is the hidden size."""

    def skipped_layers(self, spec: B, count: int) -> int:
        """How many of the first layers of a stack of `count` have no adapter."""
        return 0

    def places(self, spec: B, layout: Layout) -> list[Site]:
        """The sites, role by role, none in cross-attention. Raises UserError when none is left or a size is illegal."""
        sites = [
            site
            for role in self.roles
            for site in layout.sites(
                role, layers=spec.layers, attention="self" if role == "attention_output" else None
            )
            if site.layer >= self.skipped_layers(spec, layout.layers[site.stack])
        ]
        if not sites:
            raise UserError(
                f"adapter.layers: got {spec.layers}, which leaves {self.name} no layer. Choose more layers."
            )
        for site in sites:
            self.check(spec, site, spec.width(site))
        return sites

    def attachments(self, spec: B, layout: Layout) -> Iterable[Attachment]:
        sites = self.places(spec, layout)
        project = self.projector(spec)
        for site in sites:
            d, width = site.d_out, spec.width(site)
            adapter = BottleneckAdapter(project(d, width), project(width, d), spec.nonlinearity)
            yield Attachment(site, adapter)

    def count(self, spec: B, layout: Layout) -> int:
        """The parameters of down and up at every site, and once those that they share."""
        total = self.shared_params(spec)
        for site in self.places(spec, layout):
            d, width = site.d_out, spec.width(site)
            total += self.projection_params(spec, d, width) + self.projection_params(spec, width, d)
        return total

    def identity_at_init(self, spec: B) -> bool:
        return False  # the released initialisations are small, not zero

    def sizes(self, spec: B, layout: Layout) -> Iterable[B]:
        for option in self.options(spec, layout.hidden):
            yield spec.model_copy(update={"reduction_factor": None, **option})
