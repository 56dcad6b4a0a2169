"""The plot files: which are written, what they hold, and the front that they draw."""

from functools import partial

import pytest

from petbench.record import Point
from petbench.report.figures import files as plots
from petbench.report.figures.views import _average_points, _lines, chosen, front
from petbench.report.tables import build


def _records(make):
    out = []
    for adapter, base, size in (("krona", 0.7, 500), ("lora", 0.65, 2000), ("head_only", 0.5, 0)):
        for task in ("rte", "mrpc"):
            for seed in range(2):
                run = make(adapter, task, seed, base + seed / 100, step_seconds=0.2, params=size)
                curve = tuple(
                    Point(step=10 * k, epoch=k, seconds=2.0 * k, loss=1.0, score=base * k / 5)
                    for k in range(1, 6)
                )
                out.append(run.model_copy(update={"curve": curve}))
    return out


def test_front_keeps_what_nothing_beats() -> None:
    def point(x, y):
        return {}, x, y, None, None

    kept = front([point(5, 0.9), point(1, 0.5), point(2, 0.4), point(2, 0.7), point(9, 0.9)])
    assert [(x, y) for _, x, y, *_ in kept] == [(1, 0.5), (2, 0.7), (5, 0.9)]


def test_chosen_prefers_more_tasks_then_the_selection_score() -> None:
    rows = [
        {"method": "a", "cells": {"rte": 0}, "selection": 0.9},
        {"method": "a", "cells": {"rte": 1, "mrpc": 2}, "selection": 0.6},
        {"method": "a", "cells": {"rte": 3, "mrpc": 4}, "selection": 0.7},
        {"method": "b", "cells": {"rte": 5}, "selection": None},
    ]
    assert [row["cells"]["rte"] for row in chosen(rows)] == [3, 5]


def test_against_parameters_a_method_has_a_mark_for_every_size() -> None:
    rows = [
        {"method": "a", "tuned": 100, "cells": {"rte": 0}, "selection": 0.9},
        {"method": "a", "tuned": 100, "cells": {"rte": 1}, "selection": 0.8},
        {"method": "a", "tuned": 200, "cells": {"rte": 2}, "selection": 0.7},
        {"method": "b", "tuned": 100, "cells": {"rte": 3}, "selection": 0.6},
    ]
    cells = [
        {"method": row["method"], "tuned": row["tuned"], "step": 1, "mean": 50 + n}
        for n, row in enumerate(rows)
    ]
    cells = [cell | {"low": None, "high": None} for cell in cells]
    data = {"cells": cells}
    table = {"rows": rows, "tasks": [{"name": "rte"}], "average_of": 0}
    assert [(x, y) for _, x, y, *_ in _average_points(data, table, "tuned")] == [
        (100, 53),
        (200, 52),
        (100, 50),
    ]
    assert [(x, y) for _, x, y, *_ in _average_points(data, table, "step")] == [(1, 53), (1, 50)]


@pytest.mark.parametrize(
    "names", [["lr"], ["factor_shape=24x16"] * 3, ["a_setting_of_many_letters=128x96"] * 9]
)
def test_lines_of_one_method_are_told_apart_and_their_legend_is_not_cut_off(names: list[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    points = [{"x": x, "y": 80, "low": None, "high": None} for x in (0.001, 0.01)]
    lines = [
        {"method": "krona", "label": f"krona {name} {n}", "points": points} for n, name in enumerate(names)
    ]
    figure = plots._figure([("minilm", partial(_lines, {"coloured": ["krona"]}, lines, "learning rate"))])
    drawn = [line for line in figure.axes[0].lines if line.get_label().startswith("krona")]
    assert len({line.get_linestyle() for line in drawn}) == min(4, len(names))
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert legend.y0 >= 0


def test_files_of_the_views_that_have_data(make, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    records = _records(make)
    written = plots.write_plots(build(records), records, tmp_path / "plots")
    names = {"score_parameters", "score_time", "heat_map", "seeds", "curves", "time_to_score"}
    assert {path.name for path in written} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert all(path.stat().st_size > 1000 for path in written)
    text = (tmp_path / "plots" / "score_parameters.svg").read_text()
    assert "krona" in text and "tuned parameters, head not counted" in text
    assert "<dc:date>" not in text  # equal records give equal files


def test_without_matplotlib_it_says_so_and_goes_on(make, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    records = _records(make)
    assert plots.write_plots(build(records), records, tmp_path) == []
    assert "pip install 'petbench[plot]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
