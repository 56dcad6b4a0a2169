"""The contract of one injected module: a pure function of two tensors of a site, and where it is attached."""

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
    source: the tensor that the change is computed from: the module's input, the output of another site
        (`Attachment.reads`) or, for `at="input"`, the target itself.
    Both are (batch, tokens, features); the result has target's shape.
    """

    # Own parameters that count as vectors although they have more dimensions (m stacked biases, prompts):
    # weight decay skips them, as it skips every parameter of one dimension.
    vectors: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The new target, by the fast path."""

    @abstractmethod
    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        """The new target by the slow, obvious path: the formula as the paper writes it."""

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        """The plain layer that equals base and adapter together. `read`: the layer of the site `Attachment.reads`.

        Raises UserError when no plain layer equals them.
        """
        raise UserError(
            f"{type(self).__name__} cannot be merged: its change is not a linear map of the layer's input."
        )


class Handle(Protocol):
    """What undoes one change of a model."""

    def remove(self) -> None:
        """Undo it."""


class StackAdapter(nn.Module, ABC):
    """One injected module that acts on a whole stack of layers, not on a tensor of a site; it adds its own hooks.

    Its forward is pure too: a function of its own parameters and its arguments.
    """

    vectors: ClassVar[frozenset[str]] = frozenset()  # as in `Adapter`

    @abstractmethod
    def hang(self, model: nn.Module, attachment: "Attachment", is_on: Callable[[], bool]) -> list[Handle]:
        """Add its hooks to the model. While `is_on()` is false, the model computes exactly what it did before."""


@dataclass(frozen=True)
class Attachment:
    """One adapter on one site. `key` names its parameters and is unique in the model."""

    site: Site
    adapter: Adapter | StackAdapter
    at: At = "output"  # ignored for a `StackAdapter`
    reads: Site | None = None  # the site whose output, in the same forward call, is the source
    suffix: str = ""  # tells two adapters on one site apart

    @property
    def key(self) -> str:
        return f"{self.site.key}_{self.suffix}" if self.suffix else self.site.key
