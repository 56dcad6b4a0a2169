"""Time the two ways of answering as text, side by side in one process, on a T5-small shape.

    python scripts/time_decode.py --tokenizer DIR --glue DIR [--batch 64] [--device cpu] [--repeats 5]

DIR of the tokenizer: T5's real vocabulary; without it petbench's small one is used, whose label strings are
shorter. Rows are real GLUE validation rows with --glue, generated ones without.

`score` gives every label's likelihood, `generate` writes greedily: for as many tokens as the longest label
string has (what petbench does), and for 20 and 128 (limits that other code leaves in place). Weights are
random, so a generated answer goes on to its limit and is cut off there; a trained model stops at its end
token, after the label. So the first column is also what a trained model costs; the others are its worst
case. `encoder` is what both share. The kinds take turns, and each figure is the median over the turns.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import yaml

from petbench.config.sections import DataSpec, ModelSpec, TaskSpec
from petbench.config.tree import option_path
from petbench.inference.label_tree import label_scores, written_answers
from petbench.models.load import Backbone, load
from petbench.tasks.encode.encode import collate, encode, target_ids
from petbench.tasks.glue import task_named
from petbench.tasks.rows.load import load_splits
from petbench.tasks.wording import wording_of


def main() -> None:
    """Print one line a task and wording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--tokenizer", default="built", help="folder or hub id; default: petbench's small one"
    )
    parser.add_argument("--glue", help="folder of GLUE rows; default: generated rows")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limits", type=int, nargs="*", default=[20, 128], help="more limits of generate")
    parser.add_argument("--bf16", action="store_true", help="under bf16 autocast")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    values = yaml.safe_load(option_path("model", "t5_small").read_text(encoding="utf-8"))
    spec = ModelSpec(**{**values, "weights": "random", "tokenizer": asked.tokenizer})
    backbone = load(spec, "text", 2, False, 0)
    backbone.model.to(asked.device)
    print(f"t5_small shape, random weights, batch {asked.batch}, {asked.device}, {asked.threads} thread(s), "
          f"{'bf16 autocast' if asked.bf16 else 'fp32'}, median of {asked.repeats}, milliseconds a batch")  # fmt: skip
    head = ("task", "wording", "labels", "nodes", "tokens", "encoder", "score")
    print(
        *(f"{name:>9}" for name in head),
        *(f"{f'gen {name}':>12} {'ratio':>6}" for name in ("label", *asked.limits)),
    )
    with torch.autocast(asked.device, torch.bfloat16, enabled=asked.bf16):
        for task in ("rte", "stsb"):
            for wording in ("compacter", "t5"):
                _line(backbone, TaskSpec(name=task, wording=wording), asked)  # type: ignore[arg-type]


def _line(backbone: Backbone, spec: TaskSpec, asked: argparse.Namespace) -> None:
    data = DataSpec(source="local", dir=asked.glue) if asked.glue else DataSpec(source="toy")
    task, tokenizer = task_named(spec.name), backbone.tokenizer
    rows = load_splits(spec, data).part(task.validation[0]).take(range(asked.batch))
    encoded = encode(rows, task, spec, "text", tokenizer)
    batch = collate(encoded, range(asked.batch), tokenizer.pad_token_id)
    batch = {name: batch[name].to(asked.device) for name in ("input_ids", "attention_mask")}
    labels = target_ids(wording_of(spec), tokenizer)
    model: Any = backbone.model
    kinds: dict[Any, Callable[[], object]] = {
        "encoder": lambda: _no_grad(model.get_encoder(), batch),
        "score": lambda: label_scores(model, batch, labels),
    }
    for limit in (max(map(len, labels)), *asked.limits):
        kinds[limit] = lambda limit=limit: written_answers(model, batch, tokenizer, limit)
    spent: dict[Any, list[float]] = {kind: [] for kind in kinds}
    for turn in range(asked.repeats + 1):
        for kind, work in kinds.items():
            seconds = _timed(work, asked.device)
            if turn:  # the first turn warms up
                spent[kind].append(seconds)
    ms = {kind: 1000 * median(times) for kind, times in spent.items()}
    nodes = len({tuple(label[:n]) for label in labels for n in range(len(label))})
    cells = (spec.name, spec.wording, len(labels), nodes, batch["input_ids"].shape[1])
    print(*(f"{cell:>9}" for cell in cells), f"{ms['encoder']:9.1f} {ms['score']:9.1f}",
          *(f"{ms[kind]:12.1f} {ms[kind] / ms['score']:6.2f}" for kind in list(ms)[2:]), flush=True)  # fmt: skip


@torch.no_grad()
def _no_grad(encoder: Any, batch: dict[str, torch.Tensor]) -> None:
    encoder(**batch)


def _timed(work: Callable[[], object], device: str) -> float:
    wait = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    wait()
    started = time.process_time() if device == "cpu" else time.perf_counter()
    work()
    wait()
    return (time.process_time() if device == "cpu" else time.perf_counter()) - started


if __name__ == "__main__":
    main()
