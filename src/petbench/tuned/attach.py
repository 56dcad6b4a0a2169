"""Attach: put a method on a backbone, choose what trains, copy its values in and out, disable, merge, remove it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.method import Installed, Method, Stage
from petbench.config.sections import AdapterSpec
from petbench.errors import UserError
from petbench.models.sites import Layout
from petbench.tuned.checkpoint import save_attached

Before = list[
    tuple[nn.Parameter, bool, Tensor | None]
]  # parameter, whether it trained, its value if it trains now


@dataclass(repr=False)
class Tuned:
    """A backbone with one method on it. Names are parameter names of `model`.

    before: what `remove` restores in the caller's own model; None for a model that petbench loaded.
    """

    model: nn.Module
    installed: Installed
    method: Method[Any]
    spec: AdapterSpec
    layout: Layout
    adapter_names: frozenset[str]
    head_names: frozenset[str]
    norm_names: frozenset[str]
    other_names: frozenset[str]  # trained parameters of the body other than norms
    vector_names: frozenset[str] = frozenset()  # of the adapter's, those that weight decay skips as vectors
    is_merged: bool = False
    before: Before | None = None

    def __repr__(self) -> str:
        sizes = {name: parameter.numel() for name, parameter in self.model.named_parameters()}
        parts = {
            "adapter": self.adapter_names,
            "norm": self.norm_names,
            "other": self.other_names,
            "head": self.head_names,
        }
        train = ", ".join(f"{sum(sizes[name] for name in n):,} {part}" for part, n in parts.items() if n)
        places = len(self.installed.attachments)
        on = f" at {places} sites" if places else ""
        return (
            f"<Tuned: {self.spec.label} on {self.layout.family}{on}; trained: {train} parameters of "
            f"{sum(sizes.values()):,}{'; merged' if self.is_merged else ''}>"
        )

    @property
    def trained_names(self) -> frozenset[str]:
        """Everything that the method and the task train."""
        return self.adapter_names | self.head_names | self.norm_names | self.other_names

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the model."""
        return self.model(*arguments, **keywords)

    def stages(self) -> tuple[Stage, ...]:
        """The method's schedule without stages in which nothing would train (a head's stage, without a head)."""
        body = self.adapter_names | self.norm_names | self.other_names
        live = [
            s for s in self.method.stages(self.spec) if (s.adapter and body) or (s.head and self.head_names)
        ]
        total = sum(stage.share for stage in live)
        return tuple(replace(stage, share=stage.share / total) for stage in live)

    def names_in(self, stage: Stage) -> frozenset[str]:
        """What trains in this stage."""
        body = self.adapter_names | self.norm_names | self.other_names if stage.adapter else frozenset()
        return body | self.head_names if stage.head else body

    def set_stage(self, stage: Stage) -> None:
        """Let exactly this stage's parts train."""
        names = self.names_in(stage)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in names)

    def state(self) -> dict[str, Tensor]:
        """A copy of everything trained, on the CPU; a shared tensor is there once."""
        return {
            name: parameter.detach().to("cpu", copy=True).contiguous()
            for name, parameter in self.model.named_parameters()
            if name in self.trained_names
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor], strict: bool = True) -> list[str]:
        """Copy values in; returns the names that were not in `state`.

        Raises UserError on unknown names, missing names (when strict), other shapes or other dtypes.
        """
        own = {name: p for name, p in self.model.named_parameters() if name in self.trained_names}
        missing = sorted(own.keys() - state.keys())
        unknown = sorted(state.keys() - own.keys())
        if strict and (missing or unknown):
            raise UserError(
                f"the saved adapter does not fit: {len(missing)} tensors missing {missing[:3]}, "
                f"{len(unknown)} unknown {unknown[:3]}. Was it saved with another method, size or model?"
            )
        for name in own.keys() & state.keys():
            if own[name].shape != state[name].shape:
                raise UserError(
                    f"the saved adapter does not fit: {name} is {tuple(state[name].shape)} in the file and "
                    f"{tuple(own[name].shape)} in the model."
                )
            if own[name].dtype != state[name].dtype:
                raise UserError(
                    f"the saved adapter does not fit: {name} is {state[name].dtype} in the file and "
                    f"{own[name].dtype} in the model. Values are copied as they are, not rounded."
                )
        for name in own.keys() & state.keys():  # all fit: nothing is left half loaded
            own[name].copy_(state[name])
        return missing

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the adapters do nothing, merged or not (head and trained norms keep their values)."""
        was_merged = self.is_merged
        if was_merged:
            self.unmerge()
        self.installed.enable(False)
        try:
            yield
        finally:
            self.installed.enable(True)
            if was_merged:
                self.merge()

    def merge(self) -> None:
        """Merge the adapters into the backbone. Raises UserError where the method cannot."""
        self._require_mergeable()
        self.installed.merge()
        self.is_merged = True

    def unmerge(self) -> None:
        """Undo `merge`, bit for bit."""
        self.installed.unmerge()
        self.is_merged = False

    def merged(self) -> Any:
        """A plain copy of the model with the adapters merged: its `save_pretrained` writes a checkpoint that
        transformers loads alone, to the same logits. Raises UserError where the method cannot."""
        self._require_mergeable()
        self._require_unmerged("tuned.merged()")
        return self.installed.plain(folded=True)

    def save(self, folder: Path | str) -> None:
        """Write everything that trains, and what `petbench.load(folder, model=MODEL)` must know, into a folder.

        Raises UserError while the adapters are merged, since the backbone's weights are changed then.
        """
        self._require_unmerged("tuned.save()")
        model: Any = self.model
        save_attached(Path(folder), self.spec, self.state(), str(model.config._name_or_path), self.frozen())

    def frozen(self) -> dict[str, Tensor]:
        """What does not train, by parameter name: the backbone as it was loaded."""
        return {n: p.detach() for n, p in self.model.named_parameters() if n not in self.trained_names}

    @torch.no_grad()
    def remove(self) -> None:
        """Take the method off: the caller's model is as it was before `petbench.attach`, to the bit. What trained is
        lost, head included: save it first. Raises UserError for a model that petbench loaded itself."""
        if self.before is None:
            raise UserError(
                "tuned.remove(): petbench loaded this model with its adapter, so there is no model of yours to go back "
                "to. tuned.disabled() switches the adapters off, tuned.merged() gives a plain model."
            )
        self.unmerge()
        self.installed.remove()
        for parameter, trained, value in self.before:
            parameter.requires_grad_(trained)
            if value is not None:
                parameter.copy_(value)

    def _require_mergeable(self) -> None:
        if not self.method.mergeable(self.spec, self.layout):
            raise UserError(
                f"{self.method.name} cannot be merged into this {self.layout.family} model: its "
                "change cannot be written into a layer's weights."
            )

    def _require_unmerged(self, what: str) -> None:
        if self.is_merged:
            raise UserError(f"{what}: the adapters are merged into the backbone. Call tuned.unmerge() first.")


def attach(
    model: nn.Module,
    method: Method[Any],
    spec: AdapterSpec,
    layout: Layout,
    *,
    seed: int = 0,
    new_modules: tuple[str, ...] = (),
) -> Tuned:
    """Freeze the backbone, install the method, unfreeze what trains.

    seed: for the adapters' initial values alone; torch's own generator is left as it was.
    new_modules: modules outside the head whose weights the checkpoint did not hold: they train with it.
    """
    body = dict(model.named_parameters())  # before the method adds its own
    head_names = frozenset(_inside(body, (*layout.head_modules, *new_modules)))
    trained = method.trains(spec, layout, model) - head_names
    norms = _norm_names(body, layout) - head_names
    if spec.train_norms:
        trained |= norms
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        installed = method.install(model, spec, layout)
    renamed = _renamed(installed, body)
    tuned = Tuned(
        model=installed.model,
        installed=installed,
        method=method,
        spec=spec,
        layout=layout,
        adapter_names=installed.adapter_names,
        head_names=frozenset(renamed[name] for name in head_names),
        norm_names=frozenset(renamed[name] for name in trained & norms),
        other_names=frozenset(renamed[name] for name in trained - norms),
        vector_names=getattr(installed, "vector_names", frozenset()),
    )
    tuned.set_stage(Stage(share=1.0))
    return tuned


def _inside(names: dict[str, nn.Parameter], modules: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(name == m or name.startswith(f"{m}.") for m in modules)}


def _norm_names(names: dict[str, nn.Parameter], layout: Layout) -> set[str]:
    """Parameters of the norms inside the encoder and decoder (an embedding's own norm is not one)."""
    modules = tuple(
        s.module for s in layout.all_sites if s.role in ("attention_norm", "ffn_norm", "final_norm")
    )
    return _inside(names, modules)


def _renamed(installed: Installed, body: dict[str, nn.Parameter]) -> dict[str, str]:
    """Old name -> new name of the backbone's parameters: a wrapper such as PEFT's renames them."""
    now = {id(parameter): name for name, parameter in installed.model.named_parameters()}
    return {name: now[id(parameter)] for name, parameter in body.items()}
