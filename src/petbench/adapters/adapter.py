"""The contract of one injected module: a pure map of a site's two tensors, and where it hangs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from petbench.errors import UserError
from petbench.models.sites import Site

At = Literal["output", "input", "parallel"]


class Affine(NamedTuple):
    """y = x Wᵀ + bias, as PyTorch stores it: weight (d_out, d_in), bias (d_out) or None."""

    weight: Tensor
    bias: Tensor | None


class Adapter(nn.Module, ABC):
    """One injected module, pure: its output depends on its two inputs and its own parameters alone.

    target: the tensor that changes: a site's output (`at="output"`, `"parallel"`) or its input (`"input"`).
    source: what the change is computed from: the module's input, the output of the site that is read, or,
        for `at="input"`, the same tensor as the target.
    Both are (batch, tokens, features); the result has target's shape.
    """

    # Own parameters that are vectors in spite of their dimensions (a bias for each of m modules, prompts):
    # weight decay leaves them alone, as it does everything of one dimension.
    vectors: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The new target, by the fast path."""

    @abstractmethod
    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        """The new target by the slow, obvious path: the formula as the paper writes it."""

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        """The plain layer that equals base and adapter together. `read`: the layer of the site that is read.

        Raises UserError when there is none.
        """
        raise UserError(
            f"{type(self).__name__} cannot be merged: its change is no linear map of the layer's input."
        )


class Handle(Protocol):
    """What undoes one change of a model."""

    def remove(self) -> None:
        """Undo it."""


class StackAdapter(nn.Module, ABC):
    """One injected module that changes no tensor of a site but what a whole stack computes: it wires itself.

    Its forward is pure, too: a function of its own parameters and of what it is given.
    """

    vectors: ClassVar[frozenset[str]] = frozenset()  # as in `Adapter`

    @abstractmethod
    def hang(self, model: nn.Module, attachment: "Attachment", is_on: Callable[[], bool]) -> list[Handle]:
        """Wire it. While `is_on()` is false the model computes exactly what it did before."""


@dataclass(frozen=True)
class Attachment:
    """One adapter on one site. `key` names its parameters and is unique in the model."""

    site: Site
    adapter: Adapter | StackAdapter
    at: At = "output"  # read of an `Adapter` alone
    reads: Site | None = None  # its output, of the same forward call, is the source
    suffix: str = ""  # tells two adapters on one site apart

    @property
    def key(self) -> str:
        return f"{self.site.key}_{self.suffix}" if self.suffix else self.site.key
