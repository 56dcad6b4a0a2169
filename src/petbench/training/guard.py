"""Guard: a run fails at once unless every tensor that should train is connected to the loss.

When a library renames an argument, an adapter may lose its connection to the model: nothing raises, the adapter
keeps its initial values, and the score is the backbone's. So two things are required of each stage of a run:

1. after its first backward pass, every tensor of the stage has a gradient and is held by the optimiser;
2. within three steps with a learning rate above zero, every tensor has had a gradient other than zero, and so has
   changed. Three, because a factor's gradient is zero while another factor is (LoRA's A while B is at its start).

A method names its exceptions in `Method.may_rest`, and biases of keys that change nothing may have
gradients of zero in any method. Later steps cost nothing; the device is waited for once.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from petbench.adapters.method import Stage
from petbench.errors import RunError
from petbench.machine.provenance import versions
from petbench.models.sites import Layout
from petbench.tuned.attach import Tuned

STEPS = 3
NAMED = 3  # tensors that a message names


def must_move(tuned: Tuned, names: Collection[str]) -> set[str]:
    """Those of the trained parameters `names` that need a gradient other than zero: all that have a claim in neither
    `Method.may_rest` nor `biases_of_keys`."""
    free = biases_of_keys(tuned.layout)
    return {name for name in names if name not in free and not tuned.method.may_rest(tuned.spec, name)}


def biases_of_keys(layout: Layout) -> set[str]:
    """The names that the biases of keys have, the model's own and those that BitFit adds, where they change nothing.

    A bias b of the keys adds q·b to all scores of a query, and softmax(s + q·b) = softmax(s): the true gradient is
    zero, and what is computed of it is rounding, which on some machines is zero (`Family.free_key_bias`).
    """
    keys = layout.sites("key") if layout.free_key_bias else []
    return {name for site in keys for name in (f"{site.module}.bias", f"petbench.{site.key}.b")}


class Guard:
    """Watches the first steps of one stage."""

    def __init__(self, tuned: Tuned, stage: Stage, done: int = 0) -> None:
        """done: steps of the stage that an earlier process took; only the stage's first three are watched."""
        names = tuned.names_in(stage)
        self._total = len(names)
        self._watched = {
            name: parameter
            for name, parameter in tuned.model.named_parameters()
            if name in names and not tuned.method.may_rest(tuned.spec, name)
        }
        self._due = must_move(tuned, self._watched)
        self._is_first = True
        self._left = max(0, STEPS - done)
        self._seen: Tensor | None = None  # by tensor: whether a gradient was other than zero

    def loss(self, loss: Tensor) -> None:
        """Called before a backward pass. Raises RunError when the loss depends on nothing that trains."""
        if self._is_first and not loss.requires_grad:
            raise self._unconnected(list(self._watched))

    def gradients(self, loss: Tensor, optimizer: Any) -> None:
        """Called after the backward passes of a step, before clipping. Raises RunError naming unconnected tensors."""
        if self._is_first:
            self._is_first = False
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            left_out = [n for n, p in self._watched.items() if p.grad is None or id(p) not in held]
            if left_out:
                raise self._unconnected(left_out)
        if self._left and self._watched and any(group["lr"] > 0 for group in optimizer.param_groups):
            self._left -= 1
            self._look(loss)

    def _look(self, loss: Tensor) -> None:
        gradients = [parameter.grad for parameter in self._watched.values()]
        moves = torch.stack([loss.new_zeros(()) if g is None else g.detach().abs().amax() for g in gradients])
        # Where the loss is exactly zero there is nothing to learn, and gradients of zero prove nothing.
        seen = (moves != 0) | (loss == 0)
        self._seen = seen if self._seen is None else self._seen | seen
        if not self._left:
            seen_by_name = zip(self._watched, self._seen.tolist(), strict=True)
            still = [name for name, has in seen_by_name if not has and name in self._due]
            self._seen = None
            if still:
                raise self._unconnected(still, f" other than zero in {STEPS} steps")

    def _unconnected(self, names: list[str], when: str = "") -> RunError:
        shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        known = versions()
        libraries = ", ".join(f"{name} {known.get(name, 'absent')}" for name in ("transformers", "peft"))
        return RunError(
            f"{len(names)} of {self._total} trained tensors get no gradient{when}: {shown} ({libraries}). "
            "What the method adds is not part of what this model computes; `petbench doctor` shows the versions."
        )
