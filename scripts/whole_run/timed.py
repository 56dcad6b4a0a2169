"""Run petbench, or the Trainer script, as its user would, and note the seconds of its parts.

    python scripts/whole_run/timed.py NOTES.json petbench|trainer ARGUMENTS…

The functions named below are wrapped as soon as Python has loaded their module, so that nothing is imported earlier
than otherwise. NOTES.json: part -> [wall seconds, CPU seconds of the process]; the time in a part that is called inside
another counts for the inner one only.
"""

import atexit
import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

# module -> function or method -> the part of the run that it is
PETBENCH = {
    "petbench.training.plan": {"plan": "planning"},
    "petbench.training.prepare": {"prepare": "planning"},
    "petbench.training.session": {"open_session": "loading"},
    "petbench.training.scoring": {"Scorer.__init__": "loading", "Scorer.report": "evaluations"},
    "petbench.training.fit": {
        "Fit.__init__": "loading",
        "Fit.run": "training",
        "Fit._evaluate": "evaluations",
        "Fit._keep": "writing",
    },
    "petbench.measure.merge_effect": {"merge_effect": "merge effect"},
    "petbench.measure.latency": {"tuned_latency": "latency"},
    "petbench.training.train": {"_record": "writing"},
}
TRAINER = {
    "trainer": {"tokenised": "loading", "with_lora": "loading"},
    "transformers.trainer": {
        "Trainer.train": "training",
        "Trainer.evaluate": "evaluations",
        "Trainer._save_checkpoint": "writing",
        "Trainer.save_model": "writing",
    },
}


class Parts:
    """Seconds by part: those of the innermost part that is running."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"start": [0.0, time.process_time()]}
        self.running = ["start"]
        self.last = (time.perf_counter(), time.process_time())

    def turn(self) -> None:
        """Add the time since the last turn to the innermost part."""
        now = (time.perf_counter(), time.process_time())
        kept = self.seconds.setdefault(self.running[-1], [0.0, 0.0])
        for clock in (0, 1):
            kept[clock] += now[clock] - self.last[clock]
        self.last = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time is that of a part."""

        @functools.wraps(function)
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            self.turn()
            if self.running == ["start"]:
                self.running = ["other"]  # from now on
            self.running.append(part)
            try:
                return function(*arguments, **keywords)
            finally:
                self.turn()
                self.running.pop()

        return wrapped


class Wrapping(MetaPathFinder):
    """Finds the modules of a table as Python does, and wraps their functions when they are loaded."""

    def __init__(self, table: dict[str, dict[str, str]], parts: Parts) -> None:
        self.table, self.parts = table, parts

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with a loader that wraps; None for a module that the table lacks."""
        if name not in self.table:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for where, part in self.table[name].items():
                owner, _, attribute = where.rpartition(".")
                holder = getattr(module, owner) if owner else module
                setattr(holder, attribute, self.parts.timed(part, getattr(holder, attribute)))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def main() -> None:
    """Run the program with its parts timed."""
    notes, which, *arguments = sys.argv[1:]
    parts = Parts()
    atexit.register(lambda: (parts.turn(), Path(notes).write_text(json.dumps(parts.seconds))))
    sys.meta_path.insert(0, Wrapping(PETBENCH if which == "petbench" else TRAINER, parts))
    sys.argv = [which, *arguments]
    program = "petbench.cli" if which == "petbench" else "trainer"
    importlib.import_module(program).main()


if __name__ == "__main__":
    main()
