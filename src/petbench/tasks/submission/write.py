"""Write a GLUE submission: eleven prediction files in one zip, gathered from finished runs."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petbench.config.task import Task
from petbench.errors import UserError
from petbench.files import replacing
from petbench.record import Record, read_record
from petbench.tasks.glue import TASKS, rules_of, task_named
from petbench.tasks.submission.check import HEADER, check_submission

WNLI_MAJORITY = 0  # not_entailment: 323 of WNLI's 635 train rows

# A fixed time, so that the bytes of a zip depend on the predictions alone.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Part:
    """One file of the zip: its answers in row order and their origin. `stem` is the file's name without .tsv."""

    stem: str
    task: Task
    answers: Sequence[int | float]
    origin: str  # for messages: `run 3f2a…`, or what replaced a run


@dataclass(frozen=True)
class Submission:
    """Eleven parts in the zip's order. `counts`: stem -> rows that the file must have. `notes`: lines for the user."""

    parts: tuple[Part, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def gather(runs: Sequence[str], results_dir: str | Path = "results") -> Submission:
    """The submission made of what these runs (ids or folders, protocol=glue_test) predicted.

    AX comes from the mnli run. Without a wnli run, all WNLI answers are its majority class, and a note says so. Raises
    UserError on a run that is unfinished or has another protocol, on two runs of a task, on a missing file, on rows
    that are not 0 to n-1 and on answers that are not labels.
    """
    parts: dict[str, Part] = {}
    counts: dict[str, int] = {}
    notes: list[str] = []
    records = [_finished(run, results_dir) for run in runs]
    for folder, record in records:
        task = task_named(record.task)
        for split, stem in _files_of(task):
            if stem in parts:
                first = parts[stem].origin
                raise UserError(
                    f"two runs predict {stem}: {first} and run {record.run_id}. Name one of them."
                )
            path = folder / "predictions" / f"predict-{split}.jsonl"
            if not path.is_file():
                continue  # `_check_whole` reports all missing files together
            parts[stem], changed = _part(path, stem, record)
            notes += changed
            counts[stem] = _wanted_rows(record, stem, split)
    notes = _marks([record for _, record in records]) + notes
    if "WNLI" not in parts:
        rows = _toy_rows([record for _, record in records]) or task_named("wnli").rows["test"]
        parts["WNLI"] = Part("WNLI", task_named("wnli"), [WNLI_MAJORITY] * rows, "the majority class")
        counts["WNLI"] = rows
        notes.append(f"WNLI: no run was given; all {rows} rows get the majority class of its train rows (0).")
    _check_whole(parts)
    return Submission(tuple(parts[stem] for stem in STEMS), counts, tuple(notes))


def write_submission(submission: Submission, path: str | Path) -> Path:
    """Write the zip, read it back with the checker, and only then give it its name.

    Raises UserError when the folder cannot be written.
    """
    target = Path(path)
    with replacing(target, instead="--out") as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in submission.parts:
                archive.writestr(
                    zipfile.ZipInfo(f"{part.stem}.tsv", _ZIP_TIME), tsv(part), zipfile.ZIP_DEFLATED
                )
        problems = check_submission(temporary, submission.counts)
        if problems:
            raise UserError("\n".join([f"{target} was not written:", *problems]))
    return target


def tsv(part: Part) -> str:
    """The text of one file: `index`, a tab and `prediction`, which is a label string or has three decimals."""
    legal = rules_of(part.task).labels
    shown = [legal[int(a)] if legal else f"{a:.3f}" for a in part.answers]
    return "\n".join([HEADER, *(f"{row}\t{text}" for row, text in enumerate(shown))]) + "\n"


STEMS = tuple(stem for task in TASKS.values() for stem in rules_of(task).files.values())
"""The eleven files, in the tasks' order."""


def _files_of(task: Task) -> list[tuple[str, str]]:
    """What a run of a task predicts: pairs of the part's name in the run and the file's name without .tsv."""
    own = list(rules_of(task).files.items())
    return own + [(name, rules_of(TASKS[name]).files["test"]) for name in rules_of(task).also]


def _finished(run: str, results_dir: str | Path) -> tuple[Path, Record]:
    """The folder and record of a run that is done under protocol=glue_test."""
    for folder in (Path(run), Path(results_dir) / "runs" / run):
        record = read_record(folder)
        if record is None:
            continue
        if record.status != "done":
            raise UserError(
                f"run {record.run_id} ({record.task}) is {record.status}, not done. Run it again."
            )
        if record.config.get("task", {}).get("glue", True) is None:
            raise UserError(
                f"run {record.run_id} is of {record.task}, which is not a GLUE task, so the server has no file for it. "
                "`petbench predict` labels new rows with it."
            )
        if record.protocol != "glue_test":
            raise UserError(
                f"run {record.run_id} ({record.task}) has protocol={record.protocol} and predicted no test "
                "rows. Train with protocol=glue_test."
            )
        return folder, record
    raise UserError(f"no run '{run}': neither a run's folder nor a run id under {results_dir}/runs.")


def _part(path: Path, stem: str, record: Record) -> tuple[Part, list[str]]:
    """Answers of one predictions file in row order, and a note when numbers were clamped."""
    task = next(t for t in TASKS.values() if stem in rules_of(t).files.values())
    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        by_idx = {int(row["idx"]): row["prediction"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is broken: {error}. Run {record.run_id} again.") from error
    missing = next((i for i in range(len(rows)) if i not in by_idx), None)
    if missing is not None:
        raise UserError(
            f"{path}: {len(rows)} rows, but none with idx {missing}: rows are missing or repeated."
        )
    answers = [by_idx[i] for i in range(len(rows))]
    wrong = [a for a in answers if not _legal(a, task)]
    if wrong:
        raise UserError(
            f"run {record.run_id}: {len(wrong)} of {len(answers)} {stem} answers are not labels (the first: "
            f"{wrong[0]}). GLUE takes labels only: train with eval.decode=score."
        )
    if not task.regression:
        return Part(stem, task, answers, f"run {record.run_id}"), []
    low, high = task.bounds
    outside = sum(not low <= a <= high for a in answers)
    notes = (
        [f"{stem}: {outside} answers outside {low:g} to {high:g} were set to the nearer end."]
        if outside
        else []
    )
    return Part(stem, task, [min(high, max(low, a)) for a in answers], f"run {record.run_id}"), notes


def _legal(answer: Any, task: Task) -> bool:
    if isinstance(answer, bool) or not isinstance(answer, int | float) or not math.isfinite(answer):
        return False
    return task.regression or (answer == int(answer) and 0 <= answer < len(task.labels))


def _wanted_rows(record: Record, stem: str, split: str) -> int:
    """The official number of rows; for generated or partial data, the number that the run had."""
    facts = record.provenance
    if record.is_toy or split in facts.data.partial:
        return facts.rows[f"predict/{split}"]
    task = next(t for t in TASKS.values() if stem in rules_of(t).files.values())
    official = {name: task.rows[part] for part, name in rules_of(task).files.items()}
    return official[stem]


def _toy_rows(records: Sequence[Record]) -> int | None:
    """The number of rows of a generated test split, if a run used generated rows; otherwise None."""
    toy = [r for r in records if r.is_toy]
    return int(toy[0].config["data"]["toy_validation"]) if toy else None


def _marks(records: Sequence[Record]) -> list[str]:
    """Notes that say why the zip may not be fit for the GLUE server."""
    notes = []
    toy = [r.task for r in records if r.is_toy]
    if toy:
        notes.append(f"Generated rows (data=toy) in {', '.join(toy)}: this zip is not for the GLUE server.")
    partial = [r.task for r in records if r.provenance.data.partial]
    if partial:
        notes.append(f"Partial data in {', '.join(partial)}: check the row counts before you submit.")
    return notes


def _check_whole(parts: Mapping[str, Part]) -> None:
    """Raise UserError that names every missing file and the tasks whose runs would give them."""
    missing = [stem for stem in STEMS if stem not in parts]
    if not missing:
        return
    tasks = dict.fromkeys(
        task.name for task in TASKS.values() if task.train for _, stem in _files_of(task) if stem in missing
    )
    said = f"the zip lacks {', '.join(missing)}"
    if set(missing) <= {"AX"}:
        said += " (the mnli run found no ax rows)"
    raise UserError(
        f"{said}. The GLUE server wants all {len(STEMS)} files.\n"
        f"Add runs of: {', '.join(tasks)} (petbench train task=… protocol=glue_test)."
    )
