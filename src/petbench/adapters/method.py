"""The contract of a tuning method: which adapters hang where, what else trains, and what it claims.

A method is a formula in small pure modules. An `Adapter` maps two tensors of a site, `(source, target)`, to a
new target. A `Method` says which adapters hang on which sites, what else trains, and what it claims: counts,
identity at the start, merging. It never sees the model's code; hooks (`hooks.py`) do the wiring.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from torch import Tensor, nn

from petbench.adapters.adapter import Attachment
from petbench.adapters.hooks import install_hooks
from petbench.adapters.peft_form import PeftForm, Ranks
from petbench.adapters.peft_in import Foreign
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout, Site

S = TypeVar("S", bound=AdapterSpec)


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
    attachments: list[Attachment]  # what hangs where; empty for a wrapper of another library

    def enable(self, on: bool) -> None:
        """Off: the model computes exactly what the bare backbone computes."""

    def merge(self) -> None:
        """Fold the adapters into the backbone's weights. Raises UserError where that is impossible."""

    def unmerge(self) -> None:
        """Restore the backbone's weights bit for bit and the adapters beside them."""

    def plain(self, folded: bool = False) -> nn.Module:
        """A copy of the model as transformers has it, the adapters folded into the weights or left out."""

    def remove(self) -> None:
        """Take everything off the model that was given: it is as transformers has it again."""

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
    peft_type: ClassVar[str] = ""  # PEFT's type whose adapters are read into this method

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

    def peft_form(self, spec: S, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        """PEFT's equal of the trained method, for `petbench export`.

        Raises UserError where PEFT has none, saying why and what to do instead.
        """
        instead = (
            " `petbench merge` writes a plain checkpoint instead." if self.mergeable(spec, layout) else ""
        )
        raise UserError(
            f"{self.name} cannot be exported to PEFT: no method of PEFT computes the same.{instead}"
        )

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> S:
        """The spec that holds a PEFT adapter of `peft_type`. Raises UserError where there is none, saying why."""
        raise foreign.refusal(f"{self.name} reads none of PEFT's adapters")

    def values_of_peft(
        self, foreign: Foreign, spec: S, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        """A PEFT adapter's values by the parameter names of this method, on a model that has it.

        Raises UserError where sites, ranks or shapes are others, naming the setting that makes them agree.
        """
        raise foreign.refusal(f"{self.name} reads none of PEFT's adapters")

    def install(self, model: nn.Module, spec: S, layout: Layout) -> Installed:
        """Put the method on the model. The default hangs the attachments on hooks."""
        return install_hooks(model, list(self.attachments(spec, layout)))


def target_sites(targets: Iterable[str], spec: AdapterSpec, layout: Layout) -> list[Site]:
    """The sites of several roles in the chosen layers, role by role.

    Raises UserError when a role is named twice or does not exist in the model.
    """
    roles = list(targets)
    if len(set(roles)) != len(roles) or not roles:
        raise UserError(f"adapter.targets: got {roles}. Name each role once, at least one.")
    return [site for role in roles for site in layout.sites(role, layers=spec.layers)]
