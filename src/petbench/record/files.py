"""Records as files: written whole or not at all, and checked when read, one by one or a whole results folder."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from petbench.console import warn, without_secrets
from petbench.errors import UserError
from petbench.files import write_json
from petbench.record.record import SCHEMA_VERSION, Record

RECORD_FILE = "record.json"
RESUME_FILE = "resume.safetensors"  # the state that a stopped run goes on from


def run_folder(results_dir: str | Path, run_id: str) -> Path:
    """`<results_dir>/runs/<run_id>`."""
    return Path(results_dir) / "runs" / run_id


def write_record(record: Record, results_dir: str | Path) -> Path:
    """Write the record, and return its path. A run counts as done when this file exists with status `done`."""
    path = run_folder(results_dir, record.run_id) / RECORD_FILE
    write_json(path, without_secrets(record.model_dump(mode="json")))
    return path


def read_record(folder: Path) -> Record | None:
    """The record in a run's folder, or None when there is none.

    Raises UserError when the file is not JSON, has an invalid value or a number that is not finite, or is the record
    of another run than the folder's.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        wrong = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise UserError(
            f"{path} is not a petbench record (schema {SCHEMA_VERSION}): {wrong}. Move it away."
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    if (
        record.run_id != folder.name and record.run_id != folder.resolve().name
    ):  # resolving the path is slow, so it comes second
        raise UserError(f"{path} is the record of run {record.run_id}, not of this folder. Move it away.")
    return record


def read_records(results_dir: str | Path) -> Iterator[Record]:
    """All records of a results folder, by run id. A broken one is reported on standard error and left out."""
    for path in sorted(Path(results_dir).glob(f"runs/*/{RECORD_FILE}")):
        try:
            record = read_record(path.parent)
        except UserError as error:
            warn(f"left out: {error}")
            continue
        if record is not None:
            yield record
