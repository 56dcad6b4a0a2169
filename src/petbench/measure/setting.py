"""Setting: what a measurement was made with, so that its numbers can be judged and made again."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from petbench.machine.provenance import device_name, git_state, versions


def setting(argv: Sequence[str], device: torch.device) -> dict[str, Any]:
    """The command (its arguments: argv), the date (UTC), the versions of packages, petbench's commit and whether it had
    changes, and the machine with its load of the last minute (processes that ran or waited, where the system tells).
    Asked before the numbers are taken: the checkout may change meanwhile."""
    machine: dict[str, Any] = {
        "processor": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "getloadavg"):  # not on Windows
        machine["load"] = round(os.getloadavg()[0], 1)
    return {
        "command": shlex.join(["petbench", "bench", *argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": versions(),
        "petbench": git_state(),
        "machine": machine,
    }
