"""Gives the records of a results folder the run ids of today's rules, and their folders the new names.

    python scripts/migrate_records.py [RESULTS_DIR] [--dry-run]

An id is a hash over config, rows, weights, tokenizer, precision and start. What an older record does not say is taken
from the files that its config names, where their weights are the recorded ones (config and tokenizer beside the same
weights are taken to be those of the training). A record of which something cannot be known stays as it is and is named
with the reason. Nothing else of a record changes, so derived tables stay the same but for the ids in tables.csv
(`petbench report RESULTS_DIR` writes them anew). The script can be run again after every change of the rules.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from petbench.adapters.registry import spec_of
from petbench.config.spec import RunSpec, canonical_json, parse
from petbench.errors import UserError
from petbench.files import write_json, write_text
from petbench.models.content import weights_digest
from petbench.models.source import find_source
from petbench.record import RECORD_FILE, Record, read_record
from petbench.training.resume import RESUME_FILE
from petbench.tuned.checkpoint import CONFIG_FILE
from petbench.tuned.content import content_of

# What schema 1 left out of the config.
LEFT_OUT_1 = (
    "results_dir", "cache_dir", "plan", "retry", "tuning", "logger", "adapter.name", "model.label", "model.known",
    "data.dir", "data.source", "trainer.device", "trainer.threads", "trainer.log_every", "trainer.progress",
    "trainer.keep_resume_state",
)  # fmt: skip
PARTS = ("rows", "weights", "config", "tokenizer", "precision", "start")


def old_id(config: Mapping[str, Any], rows: str) -> str:
    """The run id of schema 1: it named model, tokenizer and start by their places."""
    identity = json.loads(json.dumps(config))
    known = identity["model"].get("known")
    if identity["model"]["weights"] == "random" and known is not None:
        identity["model"]["architecture"] = known["config"]
    for path in LEFT_OUT_1:
        *parents, leaf = path.split(".")
        place = identity
        for key in parents:
            place = place[key]
        place.pop(leaf, None)
    content = canonical_json({"schema": 1, "config": identity, "data": rows})
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def rows_digests(record: Record) -> Iterator[str]:
    """Digests of every choice of the record's official splits: the run used one of them."""
    splits: dict[str, str] = record.provenance.get("data", {}).get("splits", {})
    parts = dict(splits) | {f"predict/{name}": digest for name, digest in splits.items()}
    for names in chain.from_iterable(combinations(parts, size) for size in range(1, len(parts) + 1)):
        used = {"task": record.task, "splits": {name: parts[name] for name in names}}
        yield hashlib.sha256(canonical_json(used).encode()).hexdigest()


def rows_of(record: Record) -> str:
    """The digest of the rows: of all candidates the one that gives the old id. Raises UserError without one."""
    for digest in rows_digests(record):
        if old_id(record.config, digest) == record.run_id:
            return digest
    raise UserError("its rows cannot be told from its id (digests of all splits that it used are needed)")


def new_content(record: Record, spec: RunSpec) -> dict[str, str | None]:
    """The content of a recorded run. Raises UserError when a part of it cannot be known any more."""
    kept = record.provenance.get("content")
    if isinstance(kept, dict) and set(kept) == set(PARTS):
        return kept
    if record.status != "done":
        raise UserError(f"it is {record.status} and does not say what it was made of: run it again")
    rows = rows_of(record)
    if spec.model.weights == "pretrained":
        there, then = (
            weights_digest(find_source(spec.model.name, spec.model.revision)),
            record.provenance["model"],
        )
        if there != then["digest"]:
            raise UserError(
                f"trained on the weights {then['digest'][:12]}…, at {spec.model.name} are {there[:12]}…"
            )
    found = content_of(spec, rows)
    if found.missing:
        raise UserError(" ".join(found.missing))
    return found.values() | {"precision": str(record.provenance["precision"])}


def migrated(record: Record, results_dir: Path) -> Record:
    """The record under its new id, with its content noted. Raises UserError when that cannot be known."""
    spec = parse(record.config, spec_of).model_copy(update={"results_dir": str(results_dir)})
    content = new_content(record, spec)
    provenance = record.provenance | {"content": content}
    return record.model_copy(update={"run_id": spec.run_id(content), "provenance": provenance})


def write(record: Record, folder: Path) -> None:
    """Put the record into its folder, in the form that the old one has, and give the folder its name."""
    path = folder / RECORD_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {key: getattr(record, key) for key in ("run_id", "provenance", "config")}
    on_one_line = path.read_text(encoding="utf-8").count("\n") <= 1
    form: dict[str, Any] = {"separators": (",", ":")} if on_one_line else {"indent": 2}
    write_text(path, json.dumps(content, ensure_ascii=False, **form) + "\n")
    adapter = folder / "adapter" / CONFIG_FILE
    if adapter.is_file():
        saved = json.loads(adapter.read_text(encoding="utf-8"))
        write_json(adapter, saved | {"run_id": record.run_id, "content": record.provenance["content"]})
    folder.rename(folder.parent / record.run_id)


def migrate(results_dir: Path, dry_run: bool = False) -> tuple[dict[str, str], dict[str, str]]:
    """Migrate all records of a folder: old id -> new id where they differ, and old id -> why it stays."""
    found: dict[Path, Record] = {}
    taken: dict[str, str] = {}  # new id -> old id
    left: dict[str, str] = {}
    for folder in sorted(path.parent for path in results_dir.glob(f"runs/*/{RECORD_FILE}")):
        try:
            record = read_record(folder)
            assert record is not None
            record = migrated(record, results_dir)
            twin = taken.setdefault(record.run_id, folder.name)
            if twin != folder.name:
                raise UserError(f"by content it is the same run as {twin}: keep one of them")
            found[folder] = record
        except UserError as error:
            left[folder.name] = " ".join(str(error).split())
    moved = {folder.name: record.run_id for folder, record in found.items() if folder.name != record.run_id}
    for folder, record in found.items():
        start = record.config.get("init_from")
        if not dry_run and (folder.name in moved or start in moved):
            config = record.config | {"init_from": moved.get(start, start)}  # a start is named by its id
            write(record.model_copy(update={"config": config}), folder)
    states = results_dir.glob(f"runs/*/{RESUME_FILE}")
    left |= {
        path.parent.name: "it is unfinished, and its state does not say of which content: begin it afresh"
        for path in states
        if not (path.parent / RECORD_FILE).is_file()
    }
    return moved, left


def main() -> int:
    """Command line; 1 when a record had to stay as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results_dir", nargs="?", type=Path, default=Path("results"))
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")
    options = parser.parse_args()
    moved, left = migrate(options.results_dir, options.dry_run)
    for old, new in moved.items():
        print(f"{old} -> {new}")
    for old, why in left.items():
        print(f"{old} stays: {why}", file=sys.stderr)
    print(
        f"{len(moved)} records {'would get' if options.dry_run else 'have'} a new id, {len(left)} cannot be migrated"
    )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
