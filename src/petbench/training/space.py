"""Space: warn before a run starts when it may write more than the disk has free."""

import shutil
from pathlib import Path

from petbench.console import warn
from petbench.record.units import size
from petbench.training.prepare import Prepared

BYTES_A_VALUE = 4  # float32
STATES = 4  # a resume state: trained values, the best ones, two moments of each
BESIDE = 32 * 2**20  # answers, predictions, lines, the record, a cache's tokens


def needed_bytes(prepared: Prepared) -> int:
    """The most bytes that a run keeps at once: its adapter, and two resume states while one replaces the other."""
    return prepared.plan.params.trainable * BYTES_A_VALUE * (1 + 2 * STATES) + BESIDE


def warn_of_space(prepared: Prepared) -> None:
    """Warn when less is free than the run may need. It starts all the same, since space may become free."""
    above = next(place for place in (prepared.folder, *prepared.folder.absolute().parents) if place.exists())
    free, needed = shutil.disk_usage(above).free, needed_bytes(prepared)
    if free < needed:
        warn(
            f"run {prepared.run_id} needs up to {size(needed)} in {Path(prepared.spec.results_dir)}, and {size(free)} "
            "are free there. Free space, or give another results_dir; `petbench doctor --clean` shows what caches hold."
        )
