"""Text-to-text form of the tasks: the exact input text, the label strings, and the way back from answer to label.

compacter: as the Compacter authors' code builds rows for adapters: field names and texts joined by blanks, the label's
code as target; as there, MNLI has no colon after `hypothesis`. compacter_named: the same with the task's name in front,
as that code builds rows for methods without a task adapter (full, BitFit, prompt tuning). t5: T5's own multi-task
wording, `mnli hypothesis: … premise: …` (fields in alphabetical order), with label words as targets. words: field names
without the task's name, with label words as targets.
The target of STS-B is a number with one decimal, on a grid of 0.2 or, as in the Compacter code, 0.1. The target of any
other number is on a grid of 25 steps over its range.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from petbench.config.sections import TaskSpec
from petbench.config.task import Task

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
NO_NUMBER = -1.0  # the value that the Compacter code gives a generated STS-B answer that is not a number
_NAMED = ("compacter_named", "t5")  # wordings with the task's name in front
OWN_STEPS = 25  # steps of the grid of a number other than STS-B's


@dataclass(frozen=True)
class Wording:
    """One task in one style, which is a value of `task.wording`; `step` is the step of STS-B's grid."""

    task: Task
    style: str
    step: float = 0.2

    @property
    def _compacter(self) -> bool:
        return self.style.startswith("compacter")

    def render(self, texts: Mapping[str, str]) -> str:
        """The input text of one row, from its text fields."""
        return " ".join(self.pieces(texts))

    def pieces(self, texts: Mapping[str, str]) -> list[str]:
        """The pieces that `render` joins. The last is a text; before it fixed words and texts alternate."""
        fields = list(self.task.text_fields)
        if self.style == "t5":
            fields.sort()
        pieces = [self.task.asked_as or self.task.name] if self.style in _NAMED else []
        for name in fields:
            colon = "" if self._compacter and name == "hypothesis" else ":"
            pieces += [f"{name}{colon}", texts[name]]
        return pieces

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Every legal label string, in label order; for a number, its grid (STS-B: 0.0 to 5.0)."""
        if self.task.regression:
            return tuple(self._written(value) for value in self.values)
        if self._compacter:
            return tuple(str(code) for code in range(len(self.task.labels)))
        return self.task.labels

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The label of each target: class codes, or the numbers of the grid."""
        if not self.task.regression:
            return tuple(range(len(self.task.labels)))
        low, high = self.task.bounds
        count = round((high - low) / self._grid)
        return tuple(round(low + i * self._grid, self._decimals) for i in range(count + 1))

    @cached_property
    def _grid(self) -> float:
        """The step of a number's targets: STS-B's own, otherwise a 25th of the label's range."""
        low, high = self.task.bounds
        return self.step if self.task.glue is not None else (high - low) / OWN_STEPS

    @cached_property
    def _decimals(self) -> int:
        """Decimals of a number's targets: one for STS-B, otherwise as many as the grid needs, at least one."""
        if self.task.glue is not None:
            return 1
        return max(1, 1 - math.floor(math.log10(self._grid)))

    def _written(self, value: float) -> str:
        return f"{value:.{self._decimals}f}"

    def target_of(self, label: int | float) -> str:
        """The target string of a label. A half step goes to the even grid point, as in T5 and NumPy."""
        if not self.task.regression:
            return self.targets[int(label)]
        if self.task.glue is None:
            low, _ = self.task.bounds
            place = min(max(round((label - low) / self._grid), 0), len(self.values) - 1)
            return self.targets[place]
        per_unit = round(1 / self.step)
        return f"{round(label * per_unit) / per_unit:.1f}"

    def parse(self, text: str) -> int | float | None:
        """The label that an answer means; None when it is not a label.

        A number is clamped to the label's range. A class must be the exact label string, apart from blanks around it.
        """
        text = text.strip()
        if not self.task.regression:
            return self.targets.index(text) if text in self.targets else None
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        low, high = self.task.bounds
        return min(high, max(low, value)) if math.isfinite(value) else None

    def parse_literally(self, text: str) -> int | float | None:
        """As `parse`, but numbers are read as in the Compacter code: anything that Python reads as a number (also
        1e3) counts, and it is not clamped. Here, too, NaN and infinity are not numbers."""
        if not self.task.regression:
            return self.parse(text)
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else None


def wording_of(spec: TaskSpec) -> Wording:
    """The wording that a task's spec asks for."""
    return Wording(spec, spec.wording, spec.stsb_step)
