"""Gives the records of a results folder the run ids and the fields of today's rules, and their folders the new names.

    python scripts/migrate_records.py [RESULTS_DIR] [--dry-run]

An id is a hash over config, rows, weights, tokenizer, precision and start. What an older record does not say is taken
from the files that its config names, where their weights are the recorded ones (config and tokenizer beside the same
weights are taken to be those of the training). A record of which something cannot be known stays as it is and is named
with the reason. A field that older records lack gets its value where it can be computed (`metrics.constant` from the
kept predictions, `tuning.searched` from the trials beside it) and null where it cannot (`date`). No number of a record
changes, so derived tables stay the same but for the ids in tables.csv, and for rows of which a tuned setting was part
of the name (`petbench report RESULTS_DIR` writes them anew). The script can be run again after every
change of the rules.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from petbench.adapters.registry import spec_of
from petbench.config.sections import TuningNote
from petbench.config.spec import RunSpec, canonical_json, parse
from petbench.errors import UserError
from petbench.files import write_json, write_text
from petbench.models.content import weights_digest
from petbench.models.source import find_source
from petbench.record import RECORD_FILE, ContentFacts, Record, read_record, read_records
from petbench.report.settings import identity, varying
from petbench.sweep.trials import cost_of, searched_settings
from petbench.training.resume import RESUME_FILE
from petbench.tuned.checkpoint import CONFIG_FILE
from petbench.tuned.content import content_of

# What schema 1 left out of the config.
LEFT_OUT_1 = (
    "results_dir", "cache_dir", "plan", "retry", "tuning", "logger", "adapter.name", "model.label", "model.known",
    "data.dir", "data.source", "trainer.device", "trainer.threads", "trainer.log_every", "trainer.progress",
    "trainer.keep_resume_state",
)  # fmt: skip


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
    splits = record.provenance.data.splits
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


def new_content(record: Record, spec: RunSpec) -> ContentFacts:
    """The content of a recorded run. Raises UserError when a part of it cannot be known any more."""
    if record.provenance.content is not None:
        return record.provenance.content
    if record.status != "done":
        raise UserError(f"it is {record.status} and does not say what it was made of: run it again")
    rows = rows_of(record)
    if spec.model.weights == "pretrained":
        there = weights_digest(find_source(spec.model.name, spec.model.revision))
        then = record.provenance.model.digest
        if there != then:
            raise UserError(f"trained on the weights {then[:12]}…, at {spec.model.name} are {there[:12]}…")
    found = content_of(spec, rows)
    if found.missing:
        raise UserError(" ".join(found.missing))
    return found.facts.model_copy(update={"precision": record.provenance.precision})


def migrated(record: Record, results_dir: Path) -> Record:
    """The record under its new id, with its content noted. Raises UserError when that cannot be known."""
    spec = parse(record.config, spec_of).model_copy(update={"results_dir": str(results_dir)})
    content = new_content(record, spec)
    provenance = record.provenance.model_copy(update={"content": content})
    return record.model_copy(update={"run_id": spec.run_id(content.model_dump()), "provenance": provenance})


def with_constant(record: Record, folder: Path) -> Record:
    """The record with `metrics.constant`, from the predictions that the run kept; as it is where it kept none."""
    constant = []
    for part in ("selection", *record.metrics.report):
        path = folder / "predictions" / f"{part if part == 'selection' else f'report-{part}'}.jsonl"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            answers = {json.loads(line)["prediction"] for line in lines}
            constant += [part] if len(answers) == 1 and None not in answers else []
    metrics = record.metrics.model_copy(update={"constant": tuple(constant) or record.metrics.constant})
    return record.model_copy(update={"metrics": metrics})


def with_searched(record: Record, trials: Iterable[Record]) -> Record:
    """The record with the settings that its tuning chose. Its trials are those that took what its note says, all
    together, and differ from it only in a set of settings: the smallest such set tells which, if only one does."""
    note = record.provenance.tuning
    if note is None or note.role != "final" or note.searched is not None:
        return record
    own = identity(record)
    alike = [
        trial
        for trial in trials
        if (trial.task, trial.model, trial.adapter, trial.protocol)
        == (record.task, record.model, record.adapter, record.protocol)
    ]
    apart = [frozenset(varying([own, identity(trial)])) for trial in alike]
    free = sorted(set().union(*apart))
    for size in range(len(free) + 1):
        groups: dict[frozenset[str], list[Record]] = {}
        for some in combinations(free, size):
            group = [trial for trial, paths in zip(alike, apart, strict=True) if paths <= set(some)]
            steps, seconds = cost_of(group)
            if (len(group), steps, round(seconds, 3)) == (note.runs, note.steps, note.seconds):
                groups[frozenset(trial.run_id for trial in group)] = group
        if groups:
            (group, *others) = groups.values()
            return record if others else _with(record, note, searched_settings(group))
    return record


def _with(record: Record, note: TuningNote, searched: Iterable[str]) -> Record:
    """The record, config included, with the searched settings in its note."""
    told = note.model_copy(update={"searched": tuple(searched)})
    provenance = record.provenance.model_copy(update={"tuning": told})
    config = record.config | {"tuning": told.model_dump(mode="json")}
    return record.model_copy(update={"provenance": provenance, "config": config})


def write(record: Record, folder: Path) -> None:
    """Put the record into its folder, in the form that the old one has, and give the folder its name."""
    path = folder / RECORD_FILE
    content = record.model_dump(mode="json")
    on_one_line = path.read_text(encoding="utf-8").count("\n") <= 1
    form: dict[str, Any] = {"separators": (",", ":")} if on_one_line else {"indent": 2}
    write_text(path, json.dumps(content, ensure_ascii=False, **form) + "\n")
    adapter = folder / "adapter" / CONFIG_FILE
    if adapter.is_file():
        saved = json.loads(adapter.read_text(encoding="utf-8"))
        write_json(adapter, saved | {"run_id": record.run_id, "content": content["provenance"]["content"]})
    folder.rename(folder.parent / record.run_id)


@dataclass(frozen=True)
class Migrated:
    """What became of the records of a folder, by their old ids."""

    moved: dict[str, str]  # to the new id
    rewritten: tuple[str, ...]  # these got fields of today under the same id
    left: dict[str, str]  # to the reason why it stays as it is


def migrate(results_dir: Path, dry_run: bool = False) -> Migrated:
    """Migrate all records of a folder."""
    found: dict[Path, Record] = {}
    taken: dict[str, str] = {}  # new id -> old id
    left: dict[str, str] = {}
    trials = [record for record in read_records(results_dir) if record.is_trial]
    for folder in sorted(path.parent for path in results_dir.glob(f"runs/*/{RECORD_FILE}")):
        try:
            record = read_record(folder)
            assert record is not None
            record = with_searched(with_constant(migrated(record, results_dir), folder), trials)
            twin = taken.setdefault(record.run_id, folder.name)
            if twin != folder.name:
                raise UserError(f"by content it is the same run as {twin}: keep one of them")
            found[folder] = record
        except UserError as error:
            left[folder.name] = " ".join(str(error).split())
    moved = {folder.name: record.run_id for folder, record in found.items() if folder.name != record.run_id}
    rewritten = []
    for folder, record in found.items():
        start = record.config.get("init_from")
        if start in moved:  # a start is named by its id
            record = record.model_copy(update={"config": record.config | {"init_from": moved[start]}})
        before = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        if before != record.model_dump(mode="json"):
            rewritten += [] if folder.name in moved else [folder.name]
            if not dry_run:
                write(record, folder)
    states = results_dir.glob(f"runs/*/{RESUME_FILE}")
    left |= {
        path.parent.name: "it is unfinished, and its state does not say of which content: begin it afresh"
        for path in states
        if not (path.parent / RECORD_FILE).is_file()
    }
    return Migrated(moved, tuple(rewritten), left)


def main() -> int:
    """Command line; 1 when a record had to stay as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results_dir", nargs="?", type=Path, default=Path("results"))
    parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")
    options = parser.parse_args()
    done = migrate(options.results_dir, options.dry_run)
    for old, new in done.moved.items():
        print(f"{old} -> {new}")
    for old, why in done.left.items():
        print(f"{old} stays: {why}", file=sys.stderr)
    would = "would get" if options.dry_run else "got"
    print(
        f"{len(done.moved)} records {would} a new id, {len(done.rewritten)} {would} new fields, "
        f"{len(done.left)} cannot be migrated"
    )
    return 1 if done.left else 0


if __name__ == "__main__":
    sys.exit(main())
