"""Which row of a column is really ahead: the highest is tested against each other row."""

from collections.abc import Mapping
from statistics import fmean

from petbench.report.layout import Standing
from petbench.report.statistics.significance import LEVEL, holm, over_seeds, paired

Verdict = tuple[Standing, float | None]


def standings(values: Mapping[str, Mapping[int, float]]) -> dict[str, Verdict]:
    """Row -> seed -> score, to row -> (standing, corrected p against the highest mean)."""
    means = {row: fmean(seeds.values()) for row, seeds in values.items() if seeds}
    if not means:
        return {}
    top = max(means, key=lambda row: means[row])
    tests = {row: over_seeds(values[top], values[row]) for row in means if row != top}
    return _judge(means, top, {row: (test.p, test.p_least) for row, test in tests.items()})


def standings_over_tasks(means: Mapping[str, Mapping[str, float]]) -> dict[str, Verdict]:
    """Row -> task -> mean score, all rows with the same tasks; pairs are tasks."""
    averages = {row: fmean(tasks.values()) for row, tasks in means.items() if tasks}
    if not averages:
        return {}
    top = max(averages, key=lambda row: averages[row])
    tests = {}
    for row in averages:
        if row != top:
            test = paired([means[top][task] - means[row][task] for task in means[top]], "tasks")
            tests[row] = (test.p, test.p_least)
    return _judge(averages, top, tests)


def _judge(
    means: Mapping[str, float], top: str, tests: Mapping[str, tuple[float, float]]
) -> dict[str, Verdict]:
    if not tests:
        return {top: ("alone", None)}
    corrected = dict(zip(tests, holm([p for p, _ in tests.values()]), strict=True))
    verdicts: dict[str, Verdict] = {}
    for row, (_, least) in tests.items():
        could_tell = least * len(tests) <= LEVEL
        standing: Standing
        if corrected[row] <= LEVEL:
            standing = "behind"
        elif could_tell or round(means[top] - means[row], 10) == 0:
            standing = "tie"
        else:
            standing = "unclear"
        verdicts[row] = (standing, corrected[row])
    others = {standing for standing, _ in verdicts.values()}
    verdicts[top] = ("best" if others == {"behind"} else "tie" if "tie" in others else "unclear", None)
    return verdicts
