"""`scripts/gpu_check` on the pretended device, to try the check itself: `python -m pretended.check WORDS …`."""

import runpy
from pathlib import Path

import pretended.cuda  # noqa: F401  before anything that asks whether there is a device

runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "gpu_check"), run_name="__main__")
