"""Operations that reach the device in one step, by method: `python -m pretended.counting MODEL OVERRIDES… -- NAMES`.

Prints one JSON object: name -> {fp32, bf16, bits}: operations forward and backward, optimiser left out. `backbone` is
the yardstick of `petbench bench`: frozen, gradients through every activation.
"""

import json
import sys
from typing import Any

import pretended.cuda  # noqa: F401  before anything that asks whether there is a device
import torch

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.measure.bench import _backbone, _pass_gradients
from petbench.models.made_up import made_up
from petbench.training.plan import plan
from petbench.tuned.load import load_and_attach

BACKBONE = "backbone"


def spec_for(name: str, *overrides: str) -> RunSpec:
    """The spec of a method on a model without weights of its own."""
    adapter = "krona" if name == BACKBONE else name
    (member,) = expand([f"adapter={adapter}", "task=rte", "data=toy", "model.weights=random", *overrides])
    return plan(parse(member.values, spec_of)).spec


def model_of(name: str, *overrides: str) -> torch.nn.Module:
    """The tuned model, or the bare backbone, on the device and in training mode."""
    spec = spec_for(name, *overrides)
    if name == BACKBONE:
        model = _backbone(spec)
        _pass_gradients(model)
    else:
        model = load_and_attach(spec, None)[1].model
    return model.to("cuda").train()


def operations(model: Any, lower: bool) -> dict[str, int]:
    """By name, of the second step: the first may make what is kept."""
    inputs = made_up(model, [8, 8])
    for _ in range(2):
        torch.ops.pretended.reset()
        with torch.autocast("cuda", torch.bfloat16, enabled=lower):
            loss = model(**inputs).loss
        loss.backward()
        model.zero_grad(set_to_none=True)
    return dict(torch.ops.pretended.operations())


def main() -> None:
    overrides, names = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    found = {}
    for name in names:
        model = model_of(name, *overrides)
        found[name] = {kind: sum(operations(model, kind == "bf16").values()) for kind in ("fp32", "bf16")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
