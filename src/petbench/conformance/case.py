"""One method on one tiny model, which the checks attach, run and train as often as they need."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from petbench.adapters.method import Method
from petbench.adapters.registry import method_named
from petbench.compose.expand import choice
from petbench.config.sections import AdapterSpec, ModelSpec, hyper_parameters
from petbench.models.load import Backbone, load, resolve_form
from petbench.models.made_up import made_up
from petbench.training.guard import STEPS, Guard
from petbench.tuned.attach import Tuned, attach

LENGTHS = (12, 9, 12, 5, 7, 12, 10, 6)  # padding on most rows: it must change nothing


class NotApplicable(Exception):
    """The check does not apply to this method; the message says why."""


@dataclass(frozen=True)
class Case:
    """A method's spec and YAML, a backbone and eight labelled examples."""

    name: str  # of the choice
    values: dict[str, Any]  # of the YAML
    method: Method[Any]
    spec: AdapterSpec
    backbone: Backbone
    batch: dict[str, Tensor]

    def bare(self) -> nn.Module:
        """A fresh copy of the backbone with its head."""
        return copy.deepcopy(self.backbone.model)

    def tuned(
        self, *, seed: int = 0, spec: AdapterSpec | None = None, model: nn.Module | None = None
    ) -> Tuned:
        """The method on a fresh copy of the backbone."""
        return attach(
            self.bare() if model is None else model,
            self.method,
            self.spec if spec is None else spec,
            self.backbone.layout,
            seed=seed,
            new_modules=self.backbone.new_modules,
        )

    @torch.no_grad()
    def logits(self, model: nn.Module) -> Tensor:
        """Logits in evaluation mode: (examples, labels) or (examples, tokens, vocabulary)."""
        was_training = model.training
        logits: Tensor = model.eval()(**self.batch).logits
        model.train(was_training)
        return logits

    def train(
        self,
        tuned: Tuned,
        steps: int,
        lr: float,
        until: Callable[[float], bool] = lambda loss: False,
    ) -> float:
        """Train by AdamW through the method's stages, without dropout, until `until(loss)`; gives the last loss.

        As in a run, gradients are clipped to norm 1 and the learning rate grows over the first 6% of the steps: else
        P-tuning's encoder stops learning. Each stage gets its share of the steps, three at least; a `Guard` watches.
        """
        warmup = max(1, round(0.06 * steps))
        tuned.installed.start(steps)
        tuned.model.eval()
        loss = float("nan")
        done = 0
        for stage in tuned.method.stages(tuned.spec):
            tuned.set_stage(stage)
            trained = [p for p in tuned.model.parameters() if p.requires_grad]
            if not trained:
                continue
            optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
            guard = Guard(tuned, stage)
            for _ in range(max(STEPS, round(steps * stage.share))):
                for group in optimizer.param_groups:
                    group["lr"] = lr * min(1.0, (done + 1) / warmup)
                optimizer.zero_grad()
                value = tuned.model(**self.batch).loss
                guard.loss(value)
                value.backward()
                guard.gradients(value.detach(), optimizer)
                nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                done += 1
                tuned.installed.after_step(done)
                loss = float(value.detach())
                if until(loss):
                    break
        return loss


@torch.no_grad()
def disturb(tuned: Tuned, names: Iterable[str], scale: float = 0.05, seed: int = 1) -> None:
    """Add N(0, scale) to parameters, so that those which start at zero take part."""
    generator = torch.Generator().manual_seed(seed)
    chosen = set(names)
    for name, parameter in tuned.model.named_parameters():
        if name in chosen:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def build_case(adapter: str, model: str) -> Case:
    """The case for a choice of `adapter=` and one of `model=`. Raises UserError where they do not validate."""
    values = choice("adapter", adapter)
    method = method_named(str(values.get("method", "")))
    spec = method.Spec.model_validate(hyper_parameters(values))
    backbone = _backbone(model)
    return Case(adapter, values, method, spec, backbone, made_up(backbone.model, LENGTHS))


@cache
def _backbone(model: str) -> Backbone:
    spec = ModelSpec.model_validate(choice("model", model))
    backbone = load(spec, resolve_form(spec, "auto"), 2, False, seed=0)
    if backbone.form == "head":
        _liven(backbone)
    return backbone


@torch.no_grad()
def _liven(backbone: Backbone) -> None:
    """Scale projections to std 1/√d_in: at the usual std 0.02 so narrow a model hardly depends on its input."""
    for site in backbone.layout.all_sites:
        if site.layer >= 0 and not site.role.endswith("_norm") and site.role != "ffn_block":
            weight = backbone.model.get_submodule(site.module).weight
            assert isinstance(weight, Tensor)
            weight.mul_(site.d_in**-0.5 / weight.std())
