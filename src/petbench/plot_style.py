"""How every plot looks: colours, marker shapes and matplotlib's settings, the same as on the report page."""

import importlib.util
from typing import Any

# The report page's light colours and its shapes (style.css, state.js): a method looks the same in both.
PALETTE = ("#0072b2", "#d55e00", "#00805c", "#b8498f", "#a87400", "#3f96c9", "#6b4fa0", "#8c3a3a")


SHAPES = ("o", "s", "^", "D")


YARDSTICK_LOOKS = {"full": ("#16202c", "*"), "head_only": ("#7b8794", "P")}


INK, SOFT, LINE = "#16202c", "#55616f", "#dde2e8"


STYLE: Any = {  # Any: matplotlib types its keys one by one
    "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "axes.edgecolor": LINE, "axes.labelcolor": SOFT,
    "legend.fontsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#eef1f4", "xtick.color": SOFT, "ytick.color": SOFT, "text.color": INK,
    "svg.fonttype": "none", "svg.hashsalt": "petbench",
}  # fmt: skip


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None
