"""Whole sessions on the pretended device, in one process: `python -m pretended.sessions CASE …`.

A case is ADAPTER,MODEL,PRECISION and any more words of the command line, or `resume,` and the same: three runs, one of
which is stopped after its first state. Prints a JSON line for each: exit status, the record's facts, how far merging
moved a logit, what the device noted in every step (waits, copies), and what was said where a run failed.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pretended.cuda  # noqa: F401  before anything that asks whether there is a device

# isort: split
import torch

import petbench.measure.latency as latency
from petbench.cli import run_command
from petbench.record import read_record
from petbench.training.fit import Fit
from toy_runs import replacing

WORDS = ["train", "task=rte", "data=toy", "data.toy_train=16", "data.toy_validation=8", "trainer.max_steps=2"]
WORDS += [
    "trainer.batch_size=8",
    "trainer.eval_every=1",
    "trainer.device=cuda",
    "logger=none",
    "trainer.progress=off",
]
AFTER_STEP = Fit._after_step


def session(turn: str, adapter: str, model: str, precision: str, *more: str) -> dict[str, Any]:
    """One run through the command line."""
    results = Path("sessions", f"{turn}-{adapter}-{model}-{precision}".replace("/", "_"))
    words = replacing(
        [*WORDS, f"adapter={adapter}", f"model={model}", f"trainer.precision={precision}"], *more
    )
    steps: list[dict[str, int]] = []
    mistakes: list[str] = []

    def after_step(fit: Fit) -> None:
        steps.append(dict(torch.ops.pretended.events()))
        mistakes.extend(torch.ops.pretended.mistakes())
        torch.ops.pretended.reset()
        AFTER_STEP(fit)

    Fit._after_step = after_step  # type: ignore[method-assign]
    torch.ops.pretended.reset()
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = run_command([*words, f"results_dir={results}"])
    found: dict[str, Any] = {"case": ",".join([adapter, model, precision, *more]), "exit": status}
    found |= {"mistakes": sorted({*mistakes, *torch.ops.pretended.mistakes()}), "by step": steps}
    folders = list(results.glob("runs/*"))
    record = read_record(folders[0]) if folders else None
    if record is not None and status == 0:
        found |= {"status": record.status, "steps": record.curve[-1].step}
        found |= {"device": record.provenance.device, "precision": record.provenance.precision}
        found |= {"moved": None if record.merge is None else record.merge.max_abs_logit_change}
        found |= {"peak": record.cost.peak_memory_bytes, "seconds": record.cost.train_seconds}
        found["adapter"] = record.adapter_sha256
    else:
        found["said"] = said.getvalue()[-1500:]
    return found


def resumed(*case: str) -> dict[str, Any]:
    """The digests of the adapters of a whole run and of one that was stopped after its first state and went on."""
    whole = session("whole", *case)
    keep = Fit._keep

    def stop(fit: Fit, *arguments: Any) -> None:
        keep(fit, *arguments)
        raise KeyboardInterrupt

    Fit._keep = stop  # type: ignore[method-assign]
    try:
        stopped = session("resumed", *case)
    finally:
        Fit._keep = keep  # type: ignore[method-assign]
    went_on = session("resumed", *case)
    return {"case": f"resume,{whole['case']}", "stopped": stopped["exit"], "whole": whole, "went on": went_on}


def main() -> None:
    latency.WARM_UP, latency.TIMED = 1, 1  # its time says nothing here
    for case in sys.argv[1:]:
        first, *rest = case.split(",")
        print(json.dumps(resumed(*rest) if first == "resume" else session("once", first, *rest)), flush=True)


if __name__ == "__main__":
    main()
