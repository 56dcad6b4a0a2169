"""Times AdapterHub's Compacter and LoRA as `petbench bench` times petbench's, in an environment of AdapterHub's own.

AdapterHub needs an older transformers than petbench, so this file imports nothing of petbench:

    python -m venv /tmp/adapterhub && /tmp/adapterhub/bin/pip install adapters torch
    /tmp/adapterhub/bin/python scripts/bench_adapterhub.py --batch 8 --length 64 > results/bench/adapterhub.json

It prints the same kind of JSON as `petbench bench --json`. The yardstick is the same, too: a bare frozen backbone in
the same run, first and last, whose gradients flow through every activation. The model has MiniLM's shape and random
weights.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

import torch

MINILM = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "attn_implementation": "sdpa",
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    named = {"backbone": bare(), "compacter": compacter(), "lora": lora(), "backbone again": bare()}
    times = step_times(list(named.values()), asked.batch, asked.length, asked.rounds)
    yardstick = [(first + second) / 2 for first, second in zip(times[0], times[-1], strict=True)]
    rows = [
        {
            "name": name,
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "step_ms": 1000 * median(own),
            "step_ratio": median(mine / base for mine, base in zip(own, yardstick, strict=True)),
        }
        for (name, model), own in zip(named.items(), times, strict=True)
    ]
    print(json.dumps(setting() | {"shape": vars(asked), "rows": rows}, indent=1))


def backbone() -> Any:
    """BERT of MiniLM's shape with a head for two classes."""
    from transformers import BertConfig, BertForSequenceClassification  # another version than petbench's

    return BertForSequenceClassification(BertConfig(**MINILM))


def bare() -> Any:
    """The frozen backbone; its embeddings ask for gradients, so that the backward pass goes through all of it."""
    model = backbone().requires_grad_(False)
    model.bert.embeddings.register_forward_hook(
        lambda module, given, out: out.requires_grad_(torch.is_grad_enabled())
    )
    return model


def compacter() -> Any:
    """AdapterHub's Compacter of the size of petbench's preset: bottleneck 24, four Kronecker terms of rank 1."""
    from adapters import CompacterConfig  # of AdapterHub's environment

    return _with(CompacterConfig(reduction_factor=16, phm_dim=4, phm_rank=1))


def lora() -> Any:
    """AdapterHub's LoRA of the size of petbench's preset: rank 8 on query and value."""
    from adapters import LoRAConfig  # of AdapterHub's environment

    return _with(LoRAConfig(r=8, alpha=16, attn_matrices=["q", "v"]))


def _with(config: Any) -> Any:
    import adapters  # of AdapterHub's environment

    model = backbone()
    adapters.init(model)
    model.add_adapter("tuned", config=config)
    model.train_adapter("tuned")  # freezes the rest, its head too
    model.classifier.requires_grad_(True)
    return model


def step_times(models: Sequence[Any], batch: int, length: int, rounds: int) -> list[list[float]]:
    """CPU seconds of forward and backward by model and round; the models take turns, and two rounds warm up."""
    ids = torch.randint(1000, 30000, (batch, length))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(batch) % 2}
    times: list[list[float]] = [[] for _ in models]
    for round_number in range(rounds + 2):
        for own, model in zip(times, models, strict=True):
            model.train()
            model.zero_grad(set_to_none=True)
            started = thread_time()
            model(**inputs).loss.backward()
            if round_number >= 2:
                own.append(thread_time() - started)
    return times


def setting() -> dict[str, Any]:
    """What the numbers were made with, under the names that `petbench bench --json` has."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), processor)
    packages = {name: version(name) for name in ("torch", "transformers", "adapters")}
    return {
        "command": shlex.join(["python", "scripts/bench_adapterhub.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {"python": platform.python_version(), **packages},
        "petbench": {},
        "machine": {
            "processor": processor, "cores": os.cpu_count(), "device": processor, "threads": 1,
            "system": f"{platform.system()} {platform.machine()}", "load": round(os.getloadavg()[0], 1),
        },
        "clock": "CPU time of one thread",
        "model": "minilm",
    }  # fmt: skip


if __name__ == "__main__":
    main()
