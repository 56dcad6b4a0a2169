"""`petbench recommend`: which method to use, from the records of a results folder and under limits."""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from petbench.commands.arguments import Arguments, path
from petbench.compose.command import in_shell, overrides_of
from petbench.console import say
from petbench.errors import UserError
from petbench.record import Record, read_records
from petbench.record.units import points, seconds, signed
from petbench.report.layout import Row
from petbench.report.recommend import Answer, Limits, Step, mean, mergeable, recommend, served_latency
from petbench.report.settings import Where, parse_where
from petbench.report.write import answers_in, derive

SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
MOST_NAMED = 12
CUT_KEYS = ("data.max_train_examples", "task.train_examples", "task.sample_seed")
AHEAD = "; alone it is ahead, which all pairs together do not show"


def recommend_main(argv: list[str]) -> int:
    """Print an answer for every table of the folder; exit 0. Raises UserError."""
    options = _options(argv)
    limits = Limits(
        options.max_params, options.max_percent, options.max_latency_ms, options.max_memory,
        options.max_train_seconds, options.mergeable,
    )  # fmt: skip
    folder = Path(options.results_dir)
    if not any(True for _ in read_records(folder)):
        raise UserError(
            f"no records in {folder / 'runs'}. `petbench train sweep=choose data.file=FILE results_dir={folder} "
            "--minutes 30` (or task=NAME) runs a first set of methods and answers."
        )
    say_answers(folder, parse_where(options.where), limits, options.json)
    return 0


def say_answers(folder: Path, where: Where, limits: Limits, as_json: bool = False) -> None:
    """Print the answer for every table of these records. Raises UserError when there is no table."""
    read = answers_in(folder)
    report, _ = derive(folder, where)
    answers = [recommend(table, limits, read) for table in report.tables]
    if as_json:
        say(json.dumps([_plain(answer) for answer in answers], indent=2))
    else:
        say("\n\n".join("\n".join(_told(answer, limits)) for answer in answers))


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments(
        prog="petbench recommend",
        description="Name the smallest method that is not significantly below the best in these records, under limits.",
        epilog="example: petbench recommend results --where task=sst2 --max-params 20k --mergeable",
    )
    parser.add_argument("results_dir", nargs="?", default="results", type=path, help="(default: results)")
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE,…", help="only these runs")
    parser.add_argument("--max-params", type=_size, metavar="N", help="tuned, without the head: 20000, 20k")
    parser.add_argument("--max-percent", type=_amount, metavar="P", help="tuned, in percent of the backbone")
    parser.add_argument(
        "--max-latency-ms", type=_amount, metavar="MS", help="for one answer, merged if the method merges"
    )
    parser.add_argument("--max-memory", type=_size, metavar="BYTES", help="peak of training: 2G, 900M")
    parser.add_argument("--max-train-seconds", type=_amount, metavar="S", help="training time of one run")
    parser.add_argument("--mergeable", action="store_true", help="only methods that merge into the backbone")
    parser.add_argument("--json", action="store_true", help="scores as fractions")
    return parser.parse_args(argv)


def _size(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", text.strip().lower())
    if not found or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"got {text!r}. Legal: a number above 0, such as 20000, 20k, 1.5M, 2G"
        )
    return float(found[1]) * SIZES[found[2]]


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}. Legal: a number above 0")
    return value


def _told(answer: Answer, limits: Limits) -> list[str]:
    """The answer in words, the reasons after it."""
    lines = [answer.table.title]
    if not answer.columns:
        names = ", ".join(column.label for column in answer.table.columns)
        return [
            *lines,
            f"No answer: scores of {names} have no common mean. Choose a task: --where task=NAME.",
        ]
    if answer.pick is None:
        return [
            *lines,
            "No answer: no method has two finished runs that learnt something under these limits.",
            *_left_out(answer),
        ]
    keys, tasks = answer.keys, answer.columns
    where = tasks[0].label if len(tasks) == 1 else f"the mean of {len(tasks)} tasks"
    lines.append(f"Use {_row(answer.pick, keys)} on {where}.")
    others = [row.label for row in answer.group if row is not answer.pick]
    under = " under the limits" if limits != Limits() else ""
    if answer.candidates == 1:
        lines.append(
            f"It is the only method{under} with two finished runs that learnt something: run others to compare it with."
        )
    elif not answer.told:
        lines.append(
            f"No two of the {answer.candidates} methods{under} differ significantly, so it is the smallest. More seeds "
            "may show a difference; `petbench power` says how many."
        )
    elif others:
        lines.append(
            f"It is the smallest of {len(answer.group)} methods (of {answer.candidates}{under}) that are not "
            f"significantly below the best, all pairs tested together. The others: {_some(others)}."
        )
    else:
        lines.append(f"It is significantly better than all others ({answer.candidates - 1}){under}.")
    if answer.steps:
        lines.append("Larger methods, each compared with it alone (points more, 95% interval):")
        lines += [f"  {_step(step, keys)}" for step in answer.steps]
    lines += _left_out(answer)
    cut = any(_is_cut(answer.pick.entries[key].cell.done[0]) for key in keys)
    lines.append("Train it on all rows:" if cut else "The command of its runs, which saw all rows:")
    return lines + [f"  {command}" for command in _commands(answer.pick, keys)]


def _row(row: Row, keys: list[str]) -> str:
    facts = [] if row.costs.tuned is None else [f"{row.costs.tuned.high:,} tuned parameters"]
    if (latency := served_latency(row)) is not None:
        facts.append(f"{seconds(latency / 1000)} an answer{' merged' if mergeable(row) else ''}")
    seeds = min(len(row.entries[key].cell.values) for key in keys)
    return f"{row.label} ({'; '.join([*facts, f'{points(mean(row, keys))} over {seeds} seeds'])})"


def _step(step: Step, keys: list[str]) -> str:
    found = step.judged.difference
    gain = "a single run" if found is None else signed(found.value)
    if found is not None:
        low, high = found.interval()
        gain += f" ({points(low)} to {points(high)})"
    return f"{gain}: {_row(step.row, keys)}{'' if step.within else ', over the limits'}{AHEAD if _alone(step) else ''}"


def _alone(step: Step) -> bool:
    """Whether the larger method is ahead as long as nothing else is compared."""
    found = step.judged.difference
    return found is not None and found.interval()[0] > 0


def _left_out(answer: Answer) -> list[str]:
    """How many rows were left out, by reason."""
    kinds = Counter(why.what for why in answer.left_out.values())
    if not kinds:
        return []
    return ["Left out: " + "; ".join(f"{count} ({kind})" for kind, count in kinds.most_common()) + "."]


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _commands(row: Row, keys: list[str]) -> list[str]:
    """The command for each task, with the settings of these runs but on all train rows."""
    found = []
    for key in keys:
        run = row.entries[key].cell.done[0]
        try:
            found.append(
                f"petbench train {in_shell(overrides_of(run.config, run.adapter, run.model, CUT_KEYS))}"
            )
        except UserError as error:
            found.append(f"({run.task}: no command, {error})")
    return found


def _is_cut(run: Record) -> bool:
    """Whether a run trained on a part of the rows."""
    return any(
        run.config.get(part, {}).get(name) is not None
        for part, name in (key.split(".") for key in CUT_KEYS[:2])
    )


def _plain(answer: Answer) -> dict[str, Any]:
    keys, pick = answer.keys, answer.pick
    return {
        "table": answer.table.title, "tasks": [column.label for column in answer.columns],
        "use": None if pick is None else pick.label,
        "score": None if pick is None else mean(pick, keys), "top_group": [row.label for row in answer.group],
        "methods_under_the_limits": answer.candidates, "told_apart": answer.told,
        "left_out": {label: vars(why) for label, why in answer.left_out.items()},
        "going_up": [
            {
                "to": step.row.label, "within_limits": step.within, "verdict": step.judged.word,
                "difference": None if step.judged.difference is None else step.judged.difference.value,
            }
            for step in answer.steps
        ],
        "commands": [] if pick is None else _commands(pick, keys),
    }  # fmt: skip
