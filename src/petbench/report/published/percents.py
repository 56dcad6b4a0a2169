"""Percentages of trained parameters as papers print them, for exactly the printed settings."""

import csv
from functools import cache

from petbench.record import Params
from petbench.report.published.numbers import folder

FILE = "percents.csv"


@cache
def _printed() -> dict[tuple[str, str, int, int], str]:
    with (folder() / FILE).open(encoding="utf-8", newline="") as file:
        return {
            (line["model"], line["method"], int(line["adapter_params"]), int(line["norm_params"])): (
                f"{line['percent_printed']} ({line['paper']})"
            )
            for line in csv.DictReader(file)
        }


def printed_percent(model: str, method: str, params: Params) -> str | None:
    """`0.07 (krona)` if a paper prints a percentage for this method in this size on this model; else None.

    The size is identified by adapter and norm parameters: another rank or bottleneck has no printed percentage.
    """
    return _printed().get((model, method, params.adapter, params.norm))
