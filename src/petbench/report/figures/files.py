"""The report's plots as PNG and SVG files, for papers and W&B; needs the extra `plot` (matplotlib)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petbench.files import replacing
from petbench.plot_style import STYLE, available
from petbench.record import Record
from petbench.report.figures.look import Panel
from petbench.report.figures.views import figures
from petbench.report.layout import Report
from petbench.report.views import payload

if TYPE_CHECKING:  # matplotlib is an extra, and takes seconds
    from matplotlib.figure import Figure

MISSING = "no plot files: matplotlib is not installed. The page has the plots; for files: pip install 'petbench[plot]'."
FORMATS = ("png", "svg")
COLUMNS = 3  # panels side by side


def write_plots(report: Report, records: Sequence[Record], folder: Path) -> list[Path]:
    """Write `<view>[-<table>].png` and `.svg` for each view that has data; returns the paths in that order.

    Without matplotlib it says so on standard error and writes nothing. Raises UserError when the folder cannot be
    written.
    """
    if not available():
        print(MISSING, file=sys.stderr)
        return []
    from matplotlib import rc_context  # matplotlib is an extra, and takes seconds

    data = payload(report, records)
    written = []
    with rc_context(STYLE):
        for name, panels in figures(data).items():
            figure = _figure(panels)
            for kind in FORMATS:
                path = folder / f"{name}.{kind}"
                _save(figure, path)
                written.append(path)
    return written


def _figure(panels: Sequence[Panel]) -> "Figure":
    """Panels in a grid; without pyplot, which would keep state and might open a window."""
    # matplotlib is an extra, and takes seconds
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width = 4.6 * columns
    figure = Figure(dpi=110)
    FigureCanvasAgg(figure)
    named: dict[str, Any] = {}  # methods without a name on an axis: one legend below all panels names them
    for place, (title, draw) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_title(title, loc="left", fontweight="bold")
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    longest = max(map(len, named), default=0)
    across = max(1, int(width / max(1.5, 0.55 + 0.079 * longest)))  # inches: a line's sample and its letters
    legend = 0.2 * -(-len(named) // across)  # inches
    height = 3.5 * rows + legend
    figure.set_size_inches(width, height)
    # Fixed margins in inches, since an automatic layout would draw every figure twice.
    figure.subplots_adjust(
        left=0.95 / width, right=1 - 0.2 / width, bottom=(0.55 + legend) / height, top=1 - 0.35 / height,
        wspace=1.1 / 3.4, hspace=0.85 / 2.7,
    )  # fmt: skip
    if named:
        figure.legend(list(named.values()), list(named), loc="lower center", ncols=across, frameon=False)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    """Save a figure, without a date and with fixed ids, so that equal figures give equal files."""
    kind = path.suffix.removeprefix(".")
    with replacing(path, instead="--out") as temporary:
        figure.savefig(temporary, format=kind, metadata={"Date" if kind == "svg" else "Software": None})
