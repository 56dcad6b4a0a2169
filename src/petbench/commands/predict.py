"""`petbench predict`: a finished run labels the rows of a file."""

import csv
import io
import json
import sys
from collections.abc import Sequence

from petbench.commands.arguments import Arguments, new_file, path, whole
from petbench.errors import UserError

FORMS = (".tsv", ".csv", ".jsonl")


def predict_main(argv: list[str]) -> int:
    """`petbench predict RUN FILE [--out FILE]`; `index` and `prediction`, a row a line. Raises UserError."""
    parser = Arguments(
        prog="petbench predict",
        description="Label new text with a finished run. FILE is a .tsv (quotes are text), .csv or .jsonl with "
        "the task's text columns, such as sentence1 and sentence2; other columns are ignored.",
        epilog="example: petbench predict 3f2a9c0d1e4b new.tsv --out labels.tsv",
    )
    parser.add_argument("run", metavar="RUN", type=path, help="a run id, its folder, or an adapter folder")
    parser.add_argument("file", metavar="FILE", type=path)
    parser.add_argument(
        "--out", metavar="FILE", type=new_file, help=f"{', '.join(FORMS)}; default: TSV on standard output"
    )
    parser.add_argument(
        "--results-dir", metavar="DIR", type=path, default="results", help="results folder (default: results)"
    )
    add_backbone_options(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--batch-size", type=whole(1, 65_536), metavar="N", help="rows at once; default: the run's own"
    )
    asked = parser.parse_args(argv)
    kind = asked.out.suffix.lower() if asked.out else ".tsv"
    if kind not in FORMS:
        raise UserError(f"--out: ending '{kind}'. Legal: {', '.join(FORMS)}.")
    from petbench.console import busy, spinning, warn
    from petbench.tasks.glue import task_named
    from petbench.tasks.rows.checks import empty_text_notes
    from petbench.tasks.rows.new_text import read_new_text
    from petbench.tuned.checkpoint import adapter_folder, read_adapter_config

    # The rows are read before the model: a broken file is found in the first second.
    saved = read_adapter_config(adapter_folder(asked.run, asked.results_dir))
    rows = read_new_text(asked.file, task_named(str(saved.get("task"))))
    for note in empty_text_notes(rows):
        warn(f"{note}; they are labelled, too")
    with spinning():
        busy("loading torch and transformers")
        from petbench.inference.predict import predict
        from petbench.tuned.load import load_run

        busy("loading the run")
        loaded = load_run(asked.run, asked.results_dir, asked.model, asked.tokenizer)
        busy(f"labelling {len(rows):,} rows")
        labels = predict(loaded, rows, device=asked.device, batch_size=asked.batch_size)
    text = written(labels, kind)
    if asked.out:
        from petbench.files import write_text

        write_text(asked.out, text, instead="--out")
        print(f"wrote {len(labels)} labels to {asked.out}", file=sys.stderr)
    else:
        sys.stdout.write(text)
    lost = labels.count("")
    if lost:
        print(f"{lost} of {len(labels)} answers are no label; their prediction is empty.", file=sys.stderr)
    return 0


def add_backbone_options(parser: Arguments) -> None:
    """`--model` and `--tokenizer`, for commands that load a run."""
    where = "where the run's {} is now, if not where it was at training; it must be the same by content"
    parser.add_argument("--model", metavar="FOLDER", help=where.format("backbone"))
    parser.add_argument("--tokenizer", metavar="FOLDER", help=where.format("tokenizer"))


def written(labels: Sequence[str], kind: str) -> str:
    """`index` and `prediction` of every row, as TSV, CSV or JSONL."""
    if kind == ".jsonl":
        return "".join(
            json.dumps({"index": row, "prediction": label}) + "\n" for row, label in enumerate(labels)
        )
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t" if kind == ".tsv" else ",", lineterminator="\n")
    writer.writerow(("index", "prediction"))
    writer.writerows(enumerate(labels))
    return out.getvalue()
