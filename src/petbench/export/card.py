"""A model card of a finished run: README.md with its scores as `model-index`, its rows, counts and command."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petbench.errors import UserError
from petbench.record import Record, read_record
from petbench.tuned.published import public_name, without_places

CARD = "README.md"


def record_of(folder: Path) -> Record | None:
    """The record beside an adapter folder; None where the folder is no run's."""
    try:
        record = read_record(folder.parent)
    except UserError:
        return None
    return record if record is not None and record.status == "done" else None


def published_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config for a command without folders: files and models are named by the last part of their paths."""
    data, model = config["data"], config["model"]
    file = data.get("file")
    return {
        **without_places({"init_from": None, **config}),
        "data": {**data, "dir": None, "file": None if file is None else public_name(f"/{file}")},
        "model": {**model, "name": public_name(model["name"]), "tokenizer": public_name(model["tokenizer"])},
    }


def write_card(folder: Path, record: Record, command: str, base: str | None, merged: bool) -> None:
    """Write README.md. command: what trains it; base: the backbone's hub id, None where it has none."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData  # takes most of a second

    regression = bool(record.config.get("task", {}).get("regression"))
    kind = "text-classification"
    dataset = str(record.config.get("task", {}).get("hub") or record.task).partition(":")[0]
    results = [
        EvalResult(
            task_type=kind,
            task_name="text regression" if regression else "text classification",
            dataset_type=dataset,
            dataset_name=record.task,
            dataset_split=split,
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=value,
        )
        for split, metrics in record.metrics.report.items()
        for name, value in metrics.items()
    ]
    data = ModelCardData(
        model_name=f"{record.adapter}-{record.task}",
        base_model=base,
        library_name="transformers" if merged else "peft",
        pipeline_tag=kind,
        tags=["petbench", record.adapter],
        eval_results=results,
    )
    text = f"---\n{data.to_yaml()}\n---\n\n{_words(record, command, merged)}"
    ModelCard(text).save(folder / CARD)


def _words(record: Record, command: str, merged: bool) -> str:
    params, headline, best = record.params, record.headline, record.best
    rows = [
        ("method", record.adapter),
        ("backbone", record.model),
        ("task", record.task),
        ("protocol", record.protocol),
        ("rows that chose the checkpoint", _scores(record.metrics.selection)),
        *((f"rows reported: {s}", _scores(m)) for s, m in record.metrics.report.items()),
        ("reported rows", "" if headline is None else f"{headline.n:,}"),
        ("digest of the rows", str(record.provenance.content.rows if record.provenance.content else "")),
        ("tuned parameters", "" if params is None else f"{params.tuned:,} ({params.tuned_percent:.3g}%)"),
        ("head", "" if params is None else f"{params.head:,}"),
        ("backbone parameters", "" if params is None else f"{params.backbone:,}"),
        ("seed", str(record.seed)),
        ("best step", "" if best is None else str(best.step)),
        ("run", record.run_id),
    ]
    what = "A plain checkpoint: the method is merged into the weights." if merged else "A PEFT adapter."
    table = "\n".join(f"| {_safe(name)} | {_safe(value)} |" for name, value in rows if value)
    return (
        f"# {_safe(record.adapter)} on {_safe(record.task)}\n\n{what} Trained and measured by petbench; one run, so "
        f"its scores say nothing of the spread over seeds.\n\n| | |\n|---|---|\n{table}\n\nThe command:\n\n"
        f"    {command}\n"
    )


def _scores(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.items())


def _safe(text: str) -> str:
    return html.escape(" ".join(text.split())).replace("|", "\\|")
