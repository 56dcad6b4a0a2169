"""The pictures of a run, as files and for W&B: its learning curve and, where it has classes, its confusion matrix."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petbench.console import warn
from petbench.files import replacing
from petbench.plot_style import INK, PALETTE, SOFT, STYLE, available
from petbench.record import Record
from petbench.tracking.log import Tracker, read_metrics

if TYPE_CHECKING:  # matplotlib is an extra, and takes seconds
    from matplotlib.axes import Axes

NO_LABEL = "no label"  # the column of generated answers that are not a label


def send_pictures(
    tracker: Tracker,
    record: Record,
    folder: Path,
    names: Sequence[str],
    labels: Sequence[float],
    answers: Sequence[int | float | None],
    always: bool = False,
) -> None:
    """Draw `plots/*.png` in the run's folder and log them, if the tracker has a W&B run or `always` is set.

    names: the classes' names in code order; empty for a regression. labels, answers: of the headline score's rows.
    If a picture cannot be drawn, a warning is printed.
    """
    if not always and tracker.reference().get("mode") not in ("online", "offline"):
        return
    if not available():
        _say_missing()
        return
    try:
        for path in _drawn(record, folder / "plots", folder, names, labels, answers):
            tracker.image(path.stem, path)
    except Exception as error:  # no failure of a picture, of whatever kind, may end a run
        warn(f"no pictures of run {record.run_id}: {type(error).__name__}: {error}")


def confusion(labels: Sequence[float], answers: Sequence[Any], classes: int) -> list[list[int]]:
    """Counts, [label][answer]. If some answers are not labels, a last column counts them."""
    columns = classes + (None in answers)
    counts = [[0] * columns for _ in range(classes)]
    for label, answer in zip(labels, answers, strict=True):
        counts[int(label)][classes if answer is None else int(answer)] += 1
    return counts


@cache
def _say_missing() -> None:
    """Warn that matplotlib is missing; once in a process, as a sweep has many runs."""
    warn("no pictures of runs: matplotlib is not installed. Run: pip install 'petbench[plot]'")


def _drawn(
    record: Record,
    place: Path,
    folder: Path,
    names: Sequence[str],
    labels: Sequence[float],
    answers: Sequence[int | float | None],
) -> list[Path]:
    """Draw and save the pictures; without pyplot, which would keep state and might open a window."""
    # matplotlib is an extra, and takes seconds
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paths = []
    with rc_context(STYLE):
        pictures = {"learning_curve": (6.4, 3.6)}
        if names and labels:
            pictures["confusion_matrix"] = (2.2 + 0.8 * len(names), 1.8 + 0.7 * len(names))
        for name, size in pictures.items():
            figure = Figure(figsize=size, dpi=110, layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            if name == "learning_curve":
                _curve(axes, record, folder)
            else:
                _matrix(axes, confusion(labels, answers, len(names)), names, record)
            paths.append(place / f"{name}.png")
            with replacing(paths[-1]) as temporary:
                figure.savefig(temporary, format="png", metadata={"Software": None})
    return paths


def _curve(axes: "Axes", record: Record, folder: Path) -> None:
    """Draw training loss (left axis) and selection score (right axis) over optimiser steps."""
    logged = [(line["step"], line["values"].get("loss")) for line in read_metrics(folder)]
    losses = [(step, loss) for step, loss in logged if loss is not None]
    losses = losses or [(point.step, point.loss) for point in record.curve]
    axes.set_title(f"{record.adapter} on {record.task}, seed {record.seed}", loc="left", fontweight="bold")
    axes.plot(*zip(*losses, strict=True), color=SOFT, linewidth=1, label="training loss")
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("training loss")
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.grid(False)
    name = record.headline.name if record.headline else "score"
    scores = [(point.step, point.score) for point in record.curve]
    right.plot(
        *zip(*scores, strict=True), color=PALETTE[0], marker="o", markersize=3, label=f"selection {name}"
    )
    right.set_ylabel(f"selection {name}")
    best = [(step, score) for step, score in scores if record.best and step == record.best.step]
    if best:
        label = f"best: {best[0][1]:.4f} at step {best[0][0]:g}"
        right.plot(*best[0], color=PALETTE[1], marker="*", markersize=11, linestyle="none", label=label)
    handles = [*axes.get_lines(), *right.get_lines()]
    right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)


def _matrix(axes: "Axes", counts: list[list[int]], labels: Sequence[str], record: Record) -> None:
    """Draw the counts as numbers in cells whose colour is the share of their row."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    for true, row in enumerate(counts):
        for answer, count in enumerate(row):
            ink = "white" if shares[true][answer] > 0.5 else INK
            axes.text(answer, true, f"{count:,}", ha="center", va="center", color=ink)
    columns = [*labels, NO_LABEL][: len(counts[0])]
    axes.set_xticks(range(len(columns)), columns, rotation=20 if len(columns) > 2 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    split = record.headline.split if record.headline else ""
    axes.set_title(f"{record.task}, {split}", loc="left", fontweight="bold")
