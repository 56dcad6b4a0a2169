"""`petbench merge` and `petbench export`: a finished run as files that need no petbench."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from petbench.commands.arguments import Arguments, new_folder, path, whole
from petbench.commands.predict import add_backbone_options
from petbench.console import say
from petbench.errors import UserError
from petbench.files import replacing_folder
from petbench.tuned.published import public_name

if TYPE_CHECKING:  # it loads torch
    from petbench.tuned.load import Loaded


def merge_main(argv: list[str]) -> int:
    """`petbench merge RUN --out DIR`: the adapters folded into a plain Hugging Face checkpoint."""
    parser = _parser("merge", "Fold a run's adapters into a plain checkpoint that transformers loads alone.")
    parsed = parser.parse_args(argv)
    from petbench.export.write import fresh, merge_to_folder
    from petbench.inference.pipeline import in_units, name_labels
    from petbench.tuned.load import load_run

    loaded = load_run(parsed.run, parsed.results_dir, parsed.model, parsed.tokenizer)
    in_units(loaded)
    name_labels(loaded.tuned.model.config, loaded.task.labels)
    with replacing_folder(fresh(parsed.out), "--out") as half:
        line = merge_to_folder(loaded.tuned, loaded.tokenizer, half)
        _write_card(loaded, half, merged=True)
    say(f"{line}: {parsed.out}")
    return _pushed(parsed)


def export_main(argv: list[str]) -> int:
    """`petbench export RUN --to peft --out DIR`: a PEFT adapter, head and trained norms included."""
    parser = _parser("export", "Write a run's adapter in PEFT's own format, where PEFT can hold it exactly.")
    parser.add_argument("--to", choices=["peft"], default="peft", help="the format")
    parser.add_argument(
        "--max-rank", type=whole(1), default=16, help="largest rank of an exact LoRA that replaces KronA (16)"
    )
    parser.add_argument(
        "--approximate",
        type=whole(1),
        metavar="RANK",
        help="if no exact form exists, write the nearest LoRA of this rank",
    )
    parsed = parser.parse_args(argv)
    from petbench.export.write import export_peft, fresh
    from petbench.inference.pipeline import in_units
    from petbench.tuned.load import load_run

    loaded = load_run(parsed.run, parsed.results_dir, parsed.model, parsed.tokenizer)
    in_units(loaded)
    base = _base_model(loaded, parsed.out)
    with replacing_folder(fresh(parsed.out), "--out") as half:
        line = export_peft(loaded.tuned, half, parsed.max_rank, parsed.approximate, base_model=base)
        loaded.tokenizer.save_pretrained(half)
        if loaded.spec.model.weights == "random":
            _write_base(loaded, half / "base")
        _write_card(loaded, half, merged=False)
    say(f"{line}: {parsed.out}")
    return _pushed(parsed)


def _parser(command: str, description: str) -> Arguments:
    parser = Arguments(prog=f"petbench {command}", description=description)
    parser.add_argument("run", metavar="RUN", type=path, help="a run's id, its folder or its adapter folder")
    parser.add_argument("--out", required=True, type=new_folder, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--results-dir", type=path, default="results", help="results folder of a run id (results)"
    )
    parser.add_argument("--push", metavar="REPO", help="then upload the folder to owner/name on the hub")
    add_backbone_options(parser)
    return parser


def _write_card(loaded: "Loaded", folder: Path, merged: bool) -> None:
    """Write README.md, if the run's record lies beside the adapter: without a record there are no scores to state."""
    from petbench.compose.command import in_shell, overrides_of
    from petbench.export.card import published_config, record_of, write_card

    record = record_of(loaded.folder)
    if record is None:
        return
    try:
        words = overrides_of(published_config(record.config), record.adapter, record.model)
        command = f"petbench train {in_shell([*words, f'seed={record.seed}'])}"
    except UserError as error:
        command = f"(none: {error})"
    model = loaded.spec.model
    hub = model.weights == "pretrained" and public_name(model.name) == model.name and "/" in model.name
    write_card(folder, record, command, model.name if hub else None, merged)


def _pushed(parsed: argparse.Namespace) -> int:
    if parsed.push is not None:
        from petbench.export.push import push

        say(f"pushed: {push(parsed.out, parsed.push)}")
    return 0


def _base_model(loaded: "Loaded", out: Path) -> str:
    """The backbone's name in the adapter's config: its hub id; `base` in `--out` for random weights; for weights from a
    folder or a package only the short name, so that no path of this machine is published."""
    model = loaded.spec.model
    if model.weights == "random":
        return str(out / "base")
    return model.name if public_name(model.name) == model.name else model.label


def _write_base(loaded: "Loaded", folder: Path) -> None:
    """Write a random backbone beside the adapter, since it exists nowhere else."""
    from petbench.models.load import load

    task, spec = loaded.task, loaded.spec
    load(spec.model, loaded.backbone.form, task.num_labels, task.regression, seed=0).model.save_pretrained(
        folder
    )
