"""Findings: what the check has seen so far, kept in a file from line to line, and the time that it has left."""

import json
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEAST_SECONDS = 45.0  # a section that has less is not begun


class Findings:
    """Named values in the order in which they were found."""

    def __init__(self, out: Path, seconds: float, device: str, quick: bool) -> None:
        self.device, self.quick = device, quick
        self.large = "tiny_bert" if quick else "bert_base"  # whose times count
        self.work = (out / "work").absolute()
        self._path, self._ends, self._began = (
            out / "findings.json",
            time.monotonic() + seconds,
            time.monotonic(),
        )
        self._values: dict[str, Any] = {}
        self._bad: list[str] = []
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    @property
    def seconds_left(self) -> float:
        return self._ends - time.monotonic()

    def keep(self, name: str, value: Any, bad: bool = False) -> None:
        """Note a value, print it, and write all to the file. bad: it is not as it should be."""
        self._values[name] = value
        if bad:
            self._bad.append(name)
        self._path.write_text(json.dumps(self._values, indent=1, default=str))
        print(
            f"[{time.monotonic() - self._began:5.0f} s] {name}: {json.dumps(value, default=str)}", flush=True
        )

    def section(self, name: str, check: Callable[[], None]) -> None:
        """One part of the check; what it raises is a finding, and the next part goes on."""
        if self.seconds_left < LEAST_SECONDS:
            self.keep(name, "not run: no time left")
            return
        try:
            check()
        except Exception as error:
            self.keep(f"{name} broke", f"{type(error).__name__}: {error}"[:300], bad=True)
            traceback.print_exc()

    def bad(self) -> list[str]:
        """Names of what is not as it should be."""
        return list(self._bad)

    def table(self) -> str:
        """The steps as Markdown, for docs/speed.md."""
        rows = {
            name.removeprefix("step "): row for name, row in self._values.items() if name.startswith("step ")
        }
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        lines = [f"| step | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
        lines += [
            f"| {name} | {' | '.join(str(row.get(key, '')) for key in columns)} |"
            for name, row in rows.items()
        ]
        return "\n".join(lines)
