"""Operations that reach the device in one step, by method: `python -m pretended.counting MODEL OVERRIDES… -- NAMES`.

Prints one JSON object, name -> operations forward and backward under bf16 autocast, optimiser left out. `backbone`
is the yardstick of `petbench bench`: frozen, gradients through every activation.
"""

import json
import os
import sys
from typing import Any

import pretended.cuda  # noqa: F401  before anything that asks whether there is a device

# isort: split
import torch

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.measure.bench import BARE, backbone, pass_gradients
from petbench.models.made_up import made_up
from petbench.training.plan import plan
from petbench.tuned.held import hold_frozen
from petbench.tuned.load import load_and_attach


def spec_for(name: str, *overrides: str) -> RunSpec:
    """The spec of a method on a model without weights of its own."""
    adapter = "krona" if name == BARE else name
    (member,) = expand([f"adapter={adapter}", "task=rte", "data=toy", "model.weights=random", *overrides])
    return plan(parse(member.values, spec_of)).spec


def model_of(name: str, *overrides: str) -> torch.nn.Module:
    """The tuned model, or the bare backbone, on the device and in training mode."""
    spec = spec_for(name, *overrides)
    if name == BARE:
        model = backbone(spec)
        pass_gradients(model)
    else:
        model = load_and_attach(spec, None)[1].model
    hold_frozen(model)  # as a session does
    return model.to("cuda").train()


def operations(model: Any) -> dict[str, int]:
    """Of one step, by name; of the second one, for the first may make what is kept."""
    inputs = made_up(model, [8, 8])
    for _ in range(2):
        torch.ops.pretended.reset()
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(**inputs).loss
        loss.backward()
        model.zero_grad(set_to_none=True)
    return dict(torch.ops.pretended.operations())


def main() -> None:
    overrides, names = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    found = {}
    for name in names:
        found[name] = sum(operations(model_of(name, *overrides)).values())
    print(json.dumps(found), flush=True)
    # The interpreter is not finalised: autograd's thread of the device may still free tensors of the last pass, and
    # torch aborts when such a thread asks for the interpreter's lock by then (pytorch/pytorch issue 190489).
    os._exit(0)


if __name__ == "__main__":
    main()
