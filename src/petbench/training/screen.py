"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere."""

import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from petbench.console import busy, idle, is_main_process, is_member, out, say, shown
from petbench.record.units import measured


class RunScreen:
    """Progress of one run: a rich bar on a terminal, a line every few seconds elsewhere."""

    LINE_EVERY_SECONDS = 15.0  # between plain lines, besides one an evaluation

    def __init__(self, title: str, steps: int, done: int, wanted: str) -> None:
        self.steps = steps
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        idle()
        if wanted == "auto" and sys.stdout.isatty() and is_main_process() and not is_member():
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  score {task.fields[score]}"),
                TimeRemainingColumn(),
                console=out,
                transient=True,
            )
            self._task = self._bar.add_task(shown(title), total=steps, completed=done, loss="–", score="–")
            self._bar.start()

    def step(self, step: int, loss: float | None) -> None:
        """Called after every step; loss is None in a step whose loss was not read off the device."""
        if self._bar is not None:
            fields = {} if loss is None else {"loss": measured(loss)}
            self._bar.update(self._task, completed=step, **fields)  # type: ignore[arg-type]
        elif loss is not None and time.monotonic() - self._last_line > self.LINE_EVERY_SECONDS:
            self.line(f"step {step}/{self.steps}  loss {measured(loss)}")

    def evaluated(self, step: int, epoch: float, loss: float, name: str, score: float, best: bool) -> None:
        """Called after every evaluation on the selection rows."""
        mark = "  best so far" if best else ""
        if self._bar is not None:
            self._bar.update(self._task, loss=measured(loss), score=measured(score))
        self.line(
            f"step {step}/{self.steps}  epoch {epoch:.2f}  loss {measured(loss)}  "
            f"selection {name} {measured(score)}{mark}"
        )

    def line(self, text: str) -> None:
        """A plain line, above the bar where there is one."""
        self._last_line = time.monotonic()
        say(text)

    def close(self) -> None:
        """Stop the bar and say that scoring follows, which takes seconds too."""
        if self._bar is not None:
            self._bar.stop()
        busy("scoring and measuring what was trained")
