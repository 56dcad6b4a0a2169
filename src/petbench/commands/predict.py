"""`petbench predict`: finished runs label the rows of a file or of standard input."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petbench.commands.arguments import Arguments, new_file, path, whole
from petbench.config.task import Task
from petbench.console import busy, spinning, tell, warn
from petbench.errors import UserError
from petbench.files import write_text
from petbench.record.units import measured, seconds
from petbench.tasks.metrics import score
from petbench.tasks.rows.checks import empty_text_notes
from petbench.tasks.rows.new_text import read_new_text, read_stream
from petbench.tasks.splits import Split

if TYPE_CHECKING:  # both load torch
    from petbench.config.spec import RunSpec
    from petbench.inference.predict import Predictions

FORMS = (".tsv", ".csv", ".jsonl")
DECIMALS = 6  # of probabilities


def predict_main(argv: list[str]) -> int:
    """`petbench predict RUN FILE [--out FILE]`: one line for each row, `index` and `prediction`. Raises UserError."""
    asked = _parser().parse_args(argv)
    form = f".{asked.format}" if asked.format else asked.out.suffix.lower() if asked.out else ".tsv"
    if form not in FORMS:
        raise UserError(f"--out: ending '{form}'. Legal: {', '.join(FORMS)}.")
    from petbench.commands.ensemble import runs_at

    # The rows are read before the model, so that a broken file is found in the first second.
    spec = _foreign(asked)
    runs, task = runs_at(asked.run, asked.results_dir) if spec is None else ([Path(asked.run)], spec.task)
    rows = _rows(asked, task)
    for note in empty_text_notes(rows):
        warn(f"{note}; they are labelled, too")
    with spinning():
        busy("loading torch and transformers")
        from petbench.inference.predict import ensemble, predict
        from petbench.tuned.foreign import load_foreign
        from petbench.tuned.load import load_run

        members = []
        for number, run in enumerate(runs, start=1):
            busy(f"labelling {len(rows):,} rows with run {number} of {len(runs)}")
            if spec is None:
                loaded = load_run(run, asked.results_dir, asked.model, asked.tokenizer)
            else:
                loaded = load_foreign(run, spec, asked.model, asked.tokenizer)
            members.append(predict(loaded, rows, device=asked.device, batch_size=asked.batch))
    found = ensemble(members)
    text = written(found, form, asked.probabilities)
    if asked.out:
        write_text(asked.out, text, instead="--out")
        tell(f"wrote {len(rows)} labels to {asked.out}")
    else:
        sys.stdout.write(text)
    _end(found, rows, task, len(runs))
    return 0


def _parser() -> Arguments:
    parser = Arguments(
        prog="petbench predict",
        description="Label new text with a finished run, or with all runs of a folder as an ensemble (mean of "
        "logits). FILE is a .tsv (quotes are text), .csv, .jsonl or .parquet with the task's text columns, such as "
        "sentence1 and sentence2; other columns are ignored. `-` reads standard input: one text per line (or two, with "
        "a tab between them), or JSON objects.",
        epilog="example: petbench predict 3f2a9c0d1e4b new.tsv --out labels.tsv",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        type=path,
        help="a run id, its folder, an adapter folder, a folder of runs, or an adapter that PEFT saved (--task)",
    )
    parser.add_argument("file", metavar="FILE", type=path)
    parser.add_argument(
        "--out", metavar="FILE", type=new_file, help=f"{', '.join(FORMS)}; default: standard output"
    )
    parser.add_argument(
        "--format", choices=[form[1:] for form in FORMS], help="default: by the ending of --out, else tsv"
    )
    parser.add_argument(
        "--text", metavar="COLUMN[,COLUMN]", help="the text columns, if they have other names than the task's"
    )
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="the column of labels, for scores; default: the task's, if it is there",
    )
    parser.add_argument("--task", metavar="NAME", help="for a PEFT adapter: its columns and label names")
    parser.add_argument("--probabilities", action="store_true", help="also the probability of every class")
    parser.add_argument(
        "--results-dir", metavar="DIR", type=path, default="results", help="results folder (default: results)"
    )
    add_backbone_options(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--batch",
        "--batch-size",
        type=whole(1, 65_536),
        metavar="N",
        help="rows at once; default: the run's own",
    )
    return parser


def add_backbone_options(parser: Arguments) -> None:
    """`--model` and `--tokenizer`, for commands that load a run."""
    where = "where the run's {} is now, if not where it was at training; it must be the same by content"
    parser.add_argument("--model", metavar="FOLDER", help=where.format("backbone"))
    parser.add_argument("--tokenizer", metavar="FOLDER", help=where.format("tokenizer"))


def _foreign(asked: argparse.Namespace) -> "RunSpec | None":
    """For an adapter that PEFT saved, the spec of a default run on `--task`; for a run of petbench, None."""
    from petbench.adapters.peft_in import is_foreign

    if not is_foreign(Path(asked.run)):
        if asked.task:
            raise UserError("--task: a run of petbench knows its task. Leave --task out.")
        return None
    if not asked.task:
        raise UserError(
            f"{asked.run} is an adapter that PEFT saved, without names of columns and labels. Name the task that it "
            "answers: --task NAME (`petbench list tasks`)."
        )
    from petbench.compose.expand import expand
    from petbench.training.plan import spec_from

    (member,) = expand([f"task={asked.task}"])
    return spec_from(member.values)


def _rows(asked: argparse.Namespace, task: Task) -> Split:
    """The rows to label, with their labels where the file has them."""
    columns = None
    if asked.text is not None:
        names = asked.text.split(",")
        if len(names) != len(task.text_fields):
            raise UserError(
                f"--text: got {len(names)} columns; {task.name} takes {len(task.text_fields)}: "
                f"{', '.join(task.text_fields)}."
            )
        columns = dict(zip(task.text_fields, names, strict=True))
    if asked.file == "-":
        return read_stream(sys.stdin.buffer, task)
    return read_new_text(asked.file, task, columns, asked.label)


def _end(found: "Predictions", rows: Split, task: Task, runs: int) -> None:
    """Print on standard error: scores, the number of answers that are not labels, the time."""
    if rows.labels is not None:
        scores, _ = score(task, found.answers, rows.labels)
        shown = ", ".join(f"{name} {measured(value)}" for name, value in scores.items())
        tell(f"scores on {len(rows)} labelled rows: {shown}")
    if lost := found.answers.count(None):
        tell(f"{lost} of {len(rows)} answers are not labels; their prediction is empty.")
    by = f" by {runs} runs" if runs > 1 else ""
    tell(
        f"{len(rows)} rows{by} in {seconds(found.seconds)}, {seconds(found.seconds / len(rows))} a row (loading apart)"
    )


def written(found: "Predictions", form: str, with_probabilities: bool = False) -> str:
    """`index`, `prediction` and, if asked, the probability of every class, as TSV, CSV or JSONL."""
    shown = found.shown
    shares: Sequence[Sequence[float]] = (
        found.probabilities.round(DECIMALS).tolist() if with_probabilities else [[] for _ in shown]
    )
    if form == ".jsonl":
        lines: list[dict[str, Any]] = []
        for row, (label, share) in enumerate(zip(shown, shares, strict=True)):
            more = (
                {"probabilities": dict(zip(found.labels, share, strict=True))} if with_probabilities else {}
            )
            lines.append({"index": row, "prediction": label, **more})
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t" if form == ".tsv" else ",", lineterminator="\n")
    heads = [f"p({name})" for name in found.labels] if with_probabilities else []
    writer.writerow(["index", "prediction", *heads])
    writer.writerows(
        [row, label, *share] for row, (label, share) in enumerate(zip(shown, shares, strict=True))
    )
    return out.getvalue()
