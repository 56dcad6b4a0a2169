"""The last lines of a single run: its scores, its costs, a warning if it learnt nothing, and the next commands."""

from petbench.console import say
from petbench.record import Record, run_folder
from petbench.record.units import score, seconds, size
from petbench.report.collapse import nothing_learnt


def say_end(record: Record, results_dir: str) -> None:
    """Print the scores with their metric and rows, then the costs and the run's folder, then the next commands."""
    folder = run_folder(results_dir, record.run_id)
    for line in (*_scores(record), _costs(record), nothing_learnt(record, folder)):
        if line:
            say(line)
    say(f"run folder: {folder}")
    elsewhere = "" if results_dir == "results" else f" {results_dir}"
    option = "" if results_dir == "results" else f" --results-dir {results_dir}"
    say(f"next: petbench report{elsewhere}  (tables of all runs there)")
    say(f"      petbench predict {record.run_id} FILE{option}  (label new text)")


def _scores(record: Record) -> list[str]:
    """`accuracy 61.7 on 128 report rows (validation), 62.7 on 51 selection rows`."""
    if record.headline is None:
        return []
    name, place = record.headline.name, f"{record.adapter} on {record.task}"
    parts = [f"{score(record.headline.value)} on {record.headline.n:,} report rows ({record.headline.split})"]
    if name in record.metrics.selection:
        rows = record.provenance.rows.get("selection")
        parts.append(f"{score(record.metrics.selection[name])} on {_count(rows)}selection rows")
    return [f"{place}: {name.replace('_', ' ')} {', '.join(parts)}"]


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,} "


def _costs(record: Record) -> str:
    """`best at step 45 (epoch 3.00); 3.2 s of training, 0.4 s of evaluation; 3.1 ms a step; …`."""
    cost, parts = record.cost, []
    if record.best is not None:
        parts.append(f"best at step {record.best.step:,} (epoch {record.best.epoch:.2f})")
    times = (("training", cost.train_seconds), ("evaluation", cost.eval_seconds))
    parts.append(", ".join(f"{seconds(value)} of {name}" for name, value in times if value is not None))
    if cost.step_seconds_median is not None:
        parts.append(f"{seconds(cost.step_seconds_median)} a step")
    if cost.peak_memory_bytes is not None:
        parts.append(f"peak memory {size(cost.peak_memory_bytes)}")
    parts.append(f"{record.precision} on {record.device}" if record.device else "")
    return "; ".join(filter(None, parts))
