"""The contract of a tuning method: which adapters go where, what else trains, and what the method claims.

A method is a formula in small pure modules. An `Adapter` maps two tensors of a site, `(source, target)`, to a
new target. A `Method` says which adapters go on which sites, what else trains, and what it claims: parameter
counts, identity at step 0, merging. It never sees the model's code; `hooks.py` attaches the adapters.
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
    """A method installed on a model: what the rest of petbench may ask of it."""

    model: nn.Module  # what to call
    adapter_names: frozenset[str]  # parameters that the method added, as named in `model`
    vector_names: frozenset[str]  # those that weight decay skips as vectors: `Adapter.vectors`
    attachments: list[Attachment]  # which adapter is where; empty for another library's wrapper

    def enable(self, on: bool) -> None:
        """Switch the adapters on or off. Off: the model computes exactly what the bare backbone computes."""

    def merge(self) -> None:
        """Merge the adapters into the backbone's weights. Raises UserError where that is impossible."""

    def unmerge(self) -> None:
        """Undo `merge`: restore the backbone's weights bit for bit and switch the adapters on."""

    def plain(self, folded: bool = False) -> nn.Module:
        """A copy of the plain transformers model, the adapters merged into its weights (folded) or left out."""

    def remove(self) -> None:
        """Undo the installation: the model that was given is the plain transformers model again."""

    def start(self, total_steps: int) -> None:
        """Called once before the first step, for methods whose schedule depends on the length of the run."""

    def after_step(self, step: int) -> None:
        """Called after each optimiser step, before gradients are cleared (for methods such as AdaLoRA)."""

    def memory(self) -> dict[str, Tensor]:
        """What the method keeps between steps besides its parameters; saved so that a stopped run can resume."""

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Restore what `memory` returned. Called after `start`."""


class Method(ABC, Generic[S]):
    """One tuning method: its spec, its adapters, its claims."""

    name: ClassVar[str]
    Spec: ClassVar[type[AdapterSpec]]
    peft_type: ClassVar[str] = ""  # the PEFT type whose saved adapters this method reads; empty: none

    @abstractmethod
    def attachments(self, spec: S, layout: Layout) -> Iterable[Attachment]:
        """The adapters, freshly initialised from torch's generator, in a fixed order.

        Raises UserError when a size does not fit a site, naming field, value, site and legal values.
        """

    @abstractmethod
    def count(self, spec: S, layout: Layout) -> int:
        """Closed form: how many parameters the adapters have."""

    def trains(self, spec: S, layout: Layout, model: nn.Module) -> set[str]:
        """Names of backbone parameters that train besides the adapters (without norms of the spec's `train_norms`)."""
        return set()

    def identity_at_init(self, spec: S) -> bool:
        """Whether the model at step 0 is exactly the backbone."""
        return True

    def draws(self, spec: S) -> bool:
        """Whether any initial value depends on the seed; False where all are constants or copies (zeros, ones)."""
        return True

    def mergeable(self, spec: S, layout: Layout) -> bool:
        """Whether the adapters merge exactly into the backbone's own layers."""
        return False

    def no_checkpointing(self, spec: S) -> str:
        """Why gradient checkpointing is impossible, and what to use instead; empty when it is possible."""
        return ""

    def may_rest(self, spec: S, name: str) -> str:
        """Why a parameter that trains may have no gradient, or a gradient of zero, in all of the first three steps
        of a stage; empty where it must have one. name: the parameter's. A run in which any other parameter that
        trains has none fails at once (`training/guard.py`)."""
        return ""

    def learned_positions(self, spec: S) -> int:
        """Positions of the model that the method's own vectors take up before every row."""
        return 0

    def stages(self, spec: S) -> tuple[Stage, ...]:
        """The stages of training in their order; the shares sum to 1."""
        return (Stage(share=1.0),)

    def sizes(self, spec: S, layout: Layout) -> Iterable[S]:
        """A spec for every size that a budget may choose from, of equal counts the preferred one first; empty: none."""
        return ()

    def peft_form(self, spec: S, layout: Layout, installed: Installed, ranks: Ranks) -> PeftForm:
        """The PEFT adapter that computes the same as the trained method, for `petbench export`.

        Raises UserError where PEFT has none, saying why and what to do instead.
        """
        instead = (
            " `petbench merge` writes a plain checkpoint instead." if self.mergeable(spec, layout) else ""
        )
        raise UserError(
            f"{self.name} cannot be exported to PEFT: no method of PEFT computes the same.{instead}"
        )

    def spec_of_peft(self, foreign: Foreign, layout: Layout) -> S:
        """The spec that equals a saved PEFT adapter of `peft_type`. Raises UserError where none does, saying why."""
        raise foreign.refusal(f"{self.name} reads none of PEFT's adapters")

    def values_of_peft(
        self, foreign: Foreign, spec: S, layout: Layout, installed: Installed
    ) -> dict[str, Tensor]:
        """A saved PEFT adapter's values under this method's parameter names, for a model that has the method.

        Raises UserError where sites, ranks or shapes differ, naming the config key that makes them agree.
        """
        raise foreign.refusal(f"{self.name} reads none of PEFT's adapters")

    def install(self, model: nn.Module, spec: S, layout: Layout) -> Installed:
        """Install the method on the model. The default attaches the adapters by hooks."""
        return install_hooks(model, list(self.attachments(spec, layout)))


def target_sites(targets: Iterable[str], spec: AdapterSpec, layout: Layout) -> list[Site]:
    """The sites of several roles in the chosen layers, role by role.

    Raises UserError when no role is named, one is named twice or does not exist in the model.
    """
    roles = list(targets)
    if len(set(roles)) != len(roles) or not roles:
        raise UserError(f"adapter.targets: got {roles}. Name each role once, at least one.")
    return [site for role in roles for site in layout.sites(role, layers=spec.layers)]
