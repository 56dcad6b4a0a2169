"""What petbench does on a CUDA device, in ten minutes: prints what it finds, a table of step times, and what is bad.

    python scripts/gpu_check [--out gpu_check_out] [--seconds 480] [--device cuda] [--quick]

Every section is caught by itself and stops when the time is up. `findings.json` in the folder is written after every
line, so a check that is cut short keeps what it found. Exit 1 when anything is bad, 2 when there is no such device.
--quick: fewer methods, tiny models, few steps; with --device cpu it tries the check itself.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import runs
import steps
import torch
from findings import Findings

from petbench.errors import UserError
from petbench.machine.devices import choose_device, uses_tf32
from petbench.machine.provenance import device_name, versions


def facts(findings: Findings) -> None:
    """What this is measured with and on."""
    findings.keep("versions", versions())
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    device = torch.device(findings.device)
    findings.keep("device", {"name": device_name(device), "tf32": uses_tf32(), "cudnn": cudnn})


def main() -> int:
    """0 when nothing is bad."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_check_out"))
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    try:
        choose_device(given.device)
    except UserError as error:
        print(f"{error} `--device cpu --quick` tries the check itself.", file=sys.stderr)
        return 2
    findings = Findings(given.out, given.seconds, given.device, given.quick)
    os.environ["PETBENCH_CACHE"] = str(findings.work / "cache")
    both, lower = ("bf16", "fp32"), ("bf16",)
    findings.section("facts", lambda: facts(findings))
    findings.section("methods on tiny_bert", lambda: runs.methods(findings, "tiny_bert", both))
    findings.section("steps", lambda: steps.steps(findings))
    findings.section("resume", lambda: runs.resume(findings))
    findings.section("one run", lambda: runs.one_run(findings))
    findings.section("memory", lambda: runs.memory(findings))
    findings.section("methods on tiny_t5", lambda: runs.methods(findings, "tiny_t5", both))
    findings.section("methods on tiny_gpt2", lambda: runs.methods(findings, "tiny_gpt2", lower))
    findings.section("graphs", lambda: steps.graphs(findings))  # last: a failed capture can spoil the device
    if findings.device == "cuda":
        findings.section("runs with graphs", lambda: runs.graphs(findings))
    print(findings.table())
    bad = findings.bad()
    findings.keep("bad", bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
