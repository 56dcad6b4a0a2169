"""The contract of a tuning method, and the registry that finds every method by itself.

A method is a formula in small pure modules. An `Adapter` maps two tensors of a site, `(source, target)`, to a
new target. A `Method` says which adapters hang on which sites, what else trains, and what it claims: counts,
identity at the start, merging. It never sees the model's code; hooks (`hooks.py`) do the wiring.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from petbench.config.spec import AdapterSpec
from petbench.console import warn
from petbench.errors import UserError, unknown
from petbench.models.sites import Layout, Site

At = Literal["output", "input", "parallel"]
S = TypeVar("S", bound=AdapterSpec)


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


@dataclass(frozen=True)
class Stage:
    """A share of the training steps and what trains in it."""

    share: float
    adapter: bool = True  # adapters, norms and other parts of the body that the method trains
    head: bool = True


class Installed(Protocol):
    """A method on a model: what the rest of petbench may ask of it."""

    model: nn.Module  # what to call
    adapter_names: frozenset[str]  # parameters that the method added, as named in `model`
    vector_names: frozenset[str]  # of them, those that are vectors in spite of their dimensions

    def enable(self, on: bool) -> None:
        """Off: the model computes exactly what the bare backbone computes."""

    def merge(self) -> None:
        """Fold the adapters into the backbone's weights. Raises UserError where that is impossible."""

    def unmerge(self) -> None:
        """Restore the backbone's weights bit for bit and the adapters beside them."""

    def start(self, total_steps: int) -> None:
        """Called once before the first step, for methods whose schedule depends on the length of the run."""

    def after_step(self, step: int) -> None:
        """Called after every optimiser step, gradients still there, for methods that act then (rank allocation)."""

    def memory(self) -> dict[str, Tensor]:
        """What the method keeps between steps besides its parameters, for a run that goes on after a stop."""

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Take up what `memory` gave. Called after `start`."""


class Method(ABC, Generic[S]):
    """One tuning method: its spec, its adapters, its claims."""

    name: ClassVar[str]
    Spec: ClassVar[type[AdapterSpec]]

    @abstractmethod
    def attachments(self, spec: S, layout: Layout) -> Iterable[Attachment]:
        """The adapters, freshly initialised from torch's generator, in a fixed order.

        Raises UserError when a size does not fit a site, naming field, value, site and legal values.
        """

    @abstractmethod
    def count(self, spec: S, layout: Layout) -> int:
        """Closed form: how many parameters the adapters have."""

    def trains(self, spec: S, layout: Layout, model: nn.Module) -> set[str]:
        """Names of backbone parameters that train besides the adapters (norms: see `train_norms`)."""
        return set()

    def identity_at_init(self, spec: S) -> bool:
        """Whether the model at step 0 is exactly the backbone."""
        return True

    def draws(self, spec: S) -> bool:
        """Whether the seed decides initial values, apart from those that are all alike (zeros, ones)."""
        return True

    def mergeable(self, spec: S, layout: Layout) -> bool:
        """Whether the adapters fold exactly into the backbone's own layers."""
        return False

    def no_checkpointing(self, spec: S) -> str:
        """Why gradient checkpointing is impossible, and what to use instead; empty when it is possible."""
        return ""

    def may_rest(self, spec: S, name: str) -> str:
        """Why a tensor that trains (by its parameter name) may rightly have no gradient, or a gradient of zero, in
        all of the first three steps of a stage; empty where it must have one. A run in which another tensor has
        none fails at once (`guard.py`)."""
        return ""

    def learned_positions(self, spec: S) -> int:
        """Positions of the model that the method's own vectors take up before every row."""
        return 0

    def stages(self, spec: S) -> tuple[Stage, ...]:
        """The schedule; shares sum to 1."""
        return (Stage(share=1.0),)

    def sizes(self, spec: S, layout: Layout) -> Iterable[S]:
        """Specs of every size that a budget may choose from, in any order; empty when it has no size."""
        return ()

    def install(self, model: nn.Module, spec: S, layout: Layout) -> Installed:
        """Put the method on the model. The default hangs the attachments on hooks."""
        from petbench.adapters.hooks import install_hooks

        return install_hooks(model, list(self.attachments(spec, layout)))


_REGISTRY: dict[str, Method[Any]] = {}
_BROKEN: dict[str, str] = {}  # entry point -> why it does not load
M = TypeVar("M", bound=type[Method[Any]])


def register(method_class: M) -> M:
    """Class decorator: make a method known under its name. Raises UserError when the name is taken."""
    name = method_class.name
    if name in _REGISTRY and type(_REGISTRY[name]).__module__ != method_class.__module__:
        raise UserError(
            f"two methods are named '{name}': {type(_REGISTRY[name]).__module__} and {method_class.__module__}."
        )
    _REGISTRY[name] = method_class()
    return method_class


@cache
def _load_all() -> None:
    """Import every module of this package and of the entry point `petbench.adapters`.

    An entry point that does not load stops only its own methods: it is said, and asking for one says why.
    """
    package = importlib.import_module("petbench.adapters")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"petbench.adapters.{module.name}")
    for point in entry_points(group="petbench.adapters"):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            said = " ".join(str(error).split()) or "no reason given"
            _BROKEN[point.name] = f"{point.value}: {type(error).__name__}: {said}"
            warn(f"plug-in {point.name} does not load and is left out ({_BROKEN[point.name]}).")


def methods() -> Mapping[str, Method[Any]]:
    """All methods by name, sorted."""
    _load_all()
    return dict(sorted(_REGISTRY.items()))


def method_named(name: str) -> Method[Any]:
    """The method of that name. Raises UserError with the nearest name."""
    known = methods()
    if name not in known:
        broken = "".join(f" The plug-in {point} does not load ({why})." for point, why in _BROKEN.items())
        raise UserError(f"{unknown('adapter.method', name, known)}{broken}")
    return known[name]


def spec_of(name: str) -> type[AdapterSpec]:
    """The spec class of a method, for `config.parse`."""
    return method_named(name).Spec


def target_sites(targets: Iterable[str], spec: AdapterSpec, layout: Layout) -> list[Site]:
    """The sites of several roles in the chosen layers, role by role.

    Raises UserError when a role is named twice or does not exist in the model.
    """
    roles = list(targets)
    if len(set(roles)) != len(roles) or not roles:
        raise UserError(f"adapter.targets: got {roles}. Name each role once, at least one.")
    return [site for role in roles for site in layout.sites(role, layers=spec.layers)]
