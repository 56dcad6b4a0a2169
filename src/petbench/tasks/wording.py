"""Text-to-text form of the tasks: the exact input text, the label strings, and back.

compacter: as the Compacter authors' code builds its rows for adapters: field names and texts joined by blanks,
the label's digits as target. Its MNLI rows have no colon after `hypothesis`; so have ours. compacter_named: the
same with the task's name in front, as that code builds the rows where no task adapter is trained (full, BitFit,
prompt tuning). t5: T5's own multi-task wording, `mnli hypothesis: … premise: …` (fields in alphabetical order)
and label words. words: field names, no name in front, label words.
STS-B's target is a number with one decimal, on a grid of 0.2, or 0.1 as the Compacter code's rounding does.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from petbench.config.sections import TaskSpec
from petbench.tasks.glue import LABEL_RANGE, Task, task_named

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
NO_NUMBER = -1.0  # what the Compacter code takes for a written STS-B answer that is no number
_NAMED = ("compacter_named", "t5")  # wordings with the task's name in front
_NAMES = {"ax": "mnli"}  # the diagnostic rows are asked as mnli rows


@dataclass(frozen=True)
class Wording:
    """One task in one style, a value of `task.wording`; `step` is STS-B's grid."""

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
        """What `render` joins: from the last piece back, texts and fixed words in turn, until all texts were there."""
        fields = list(self.task.text_fields)
        if self.style == "t5":
            fields.sort()
        pieces = [_NAMES.get(self.task.name, self.task.name)] if self.style in _NAMED else []
        for name in fields:
            colon = "" if self._compacter and name == "hypothesis" else ":"
            pieces += [f"{name}{colon}", texts[name]]
        return pieces

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Every legal label string, in label order; for STS-B the grid from 0.0 to 5.0."""
        if self.task.regression:
            return tuple(f"{value:.1f}" for value in self.values)
        if self._compacter:
            return tuple(str(code) for code in range(len(self.task.labels)))
        return self.task.labels

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The label that each target stands for: codes, or STS-B's grid."""
        if not self.task.regression:
            return tuple(range(len(self.task.labels)))
        low, high = LABEL_RANGE
        return tuple(round(low + i * self.step, 1) for i in range(round((high - low) / self.step) + 1))

    def target_of(self, label: int | float) -> str:
        """The target string of a label. A half step goes to the even grid point, as in T5 and NumPy."""
        if not self.task.regression:
            return self.targets[int(label)]
        per_unit = round(1 / self.step)
        return f"{round(label * per_unit) / per_unit:.1f}"

    def parse(self, text: str) -> int | float | None:
        """The label that an answer stands for; None when it is no label.

        STS-B: any number, clamped to 0 to 5. Else the exact label string, blanks around it aside.
        """
        text = text.strip()
        if not self.task.regression:
            return self.targets.index(text) if text in self.targets else None
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        low, high = LABEL_RANGE
        return min(high, max(low, value)) if math.isfinite(value) else None

    def parse_literally(self, text: str) -> int | float | None:
        """As `parse`, but STS-B's numbers are taken as the Compacter code takes them: whatever Python reads as a
        number (1e3 too), and not clamped. What is not finite is no number here either."""
        if not self.task.regression:
            return self.parse(text)
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else None


def wording_of(spec: TaskSpec) -> Wording:
    """The wording that a task's spec asks for. Raises UserError for an unknown task."""
    return Wording(task_named(spec.name), spec.wording, spec.stsb_step)
