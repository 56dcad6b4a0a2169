"""What all figures share: the types of data and panel, and the colour and marker of a method."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from petbench.plot_style import PALETTE, SHAPES, YARDSTICK_LOOKS
from petbench.report.views import YARDSTICKS

if TYPE_CHECKING:  # matplotlib is an extra, and takes seconds
    from matplotlib.axes import Axes

Data = Mapping[str, Any]  # the payload of `views.payload`, or a part of it
Panel = tuple[str, Callable[["Axes"], None]]  # title, and the function that draws the panel


def look(data: Data, method: str) -> tuple[str, str]:
    """The colour and the marker of a method, as on the page."""
    if method in YARDSTICKS:
        return YARDSTICK_LOOKS[method]
    place = data["coloured"].index(method)
    return PALETTE[place % len(PALETTE)], SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]
