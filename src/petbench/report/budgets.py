"""Tuning budgets: the expected best of k trials of a method on a task, from the trials on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petbench.record import Record
from petbench.report.statistics.expected_best import Budget, Trial, expected_best

ENDED = ("done", "failed", "diverged")


@dataclass(frozen=True)
class Searched:
    """The trials of one method on one task; `budgets` for k = 1 to all of them. Scores are of the selection rows."""

    model: str
    protocol: str
    task: str
    method: str
    metric: str
    failed: int  # trials without a score; their runs and seconds count
    budgets: tuple[Budget, ...]

    def shown(self) -> list[Budget]:
        """The budgets that tables show: k = 1, 2, 4, 8, …, and all trials."""
        last = len(self.budgets)
        return [each for each in self.budgets if each.trials == last or each.trials & (each.trials - 1) == 0]


def searched(records: Sequence[Record]) -> tuple[Searched, ...]:
    """All methods and tasks with at least two trials and one score, sorted by model, protocol, task and method."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.is_trial and not record.is_cut and record.status in (*ENDED, "paused"):
            task = record.config.get("task")
            size = task.get("train_examples") if isinstance(task, Mapping) else None
            name = record.task + ("" if size is None else f" n={size}") + (" (toy)" if record.is_toy else "")
            groups.setdefault((record.model, record.protocol, name, record.adapter), []).append(record)
    found = []
    for (model, protocol, task_name, method), trials in sorted(groups.items()):
        if any(run.status == "paused" for run in trials):
            continue  # those that went on are the better ones: no fair draw of trials
        tried = [Trial(run.selection_score, run.cost.seconds) for run in trials]
        budgets = tuple(expected_best(tried))
        if len(budgets) > 1:
            metric = next(run.headline.name for run in trials if run.headline is not None)
            failed = sum(trial.score is None for trial in tried)
            found.append(Searched(model, protocol, task_name, method, metric, failed, budgets))
    return tuple(found)
