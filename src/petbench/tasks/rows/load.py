"""Load the rows of a task, from a local folder, the hub, files or the generator, as `Splits`."""

import os
from pathlib import Path
from typing import Any

from petbench.config.sections import DataSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.glue import TASKS
from petbench.tasks.rows.checks import checked_split, split_notes
from petbench.tasks.rows.hub import hub_rows, load_hub, require_hub
from petbench.tasks.rows.own import own_splits
from petbench.tasks.rows.places import files_of, own_rows
from petbench.tasks.rows.raw import Raw
from petbench.tasks.rows.tsv import file_names, find_tsv, folder_names, read_tsv
from petbench.tasks.splits import Split, Splits
from petbench.tasks.toy import toy_splits

ENV_DIR = "PETBENCH_GLUE"  # environment variable that names the local folder when data.dir does not


def load_splits(task: Task, data: DataSpec) -> Splits:
    """Every split of a task that its source has.

    The rows of a task that is not GLUE's come from `data.file`, `data.hub` or the files that its YAML names. For GLUE,
    the source `auto` is local when `data.dir` or PETBENCH_GLUE names a folder, otherwise the hub, never toy. Raises
    UserError on broken rows, on a split whose number of rows is not the official one (unless `data.allow_partial`),
    and when the hub cannot be reached.
    """
    folder = data.dir or os.environ.get(ENV_DIR) or None
    source = source_of(data)
    if source == "toy":
        return toy_splits(task, data.toy_train, data.toy_validation)
    if task.glue is None:
        return own_splits(task, data, *_own(task, data))
    if source == "hub":
        return load_hub(task)
    if not folder:
        raise UserError(
            f"data=local needs a folder: give data.dir=DIR or set {ENV_DIR}. "
            f"DIR holds {task.name}/<split>.parquet or GLUE's official TSV folders."
        )
    return load_local(task, Path(folder), allow_partial=data.allow_partial)


def _own(task: Task, data: DataSpec) -> tuple[dict[str, Raw], str, str]:
    """The raw columns of a task that is not GLUE's, their source (`file` or `hub`), and a name of the place."""
    place = data.file or task.files
    if data.hub is None and place is not None:
        return own_rows(task, data), "file", place
    hub = data.hub or task.hub
    if hub is None:
        raise UserError(
            f"task={task.name} does not say where its rows are: give data.file=FILE or data.hub=NAME."
        )

    return hub_rows(task.model_copy(update={"hub": hub})), "hub", f"the hub's {hub}"


def source_of(data: DataSpec) -> str:
    """The source: local, hub or toy. `auto` is replaced by local or hub."""
    folder = data.dir or os.environ.get(ENV_DIR)
    return data.source if data.source != "auto" else "local" if folder else "hub"


def require_source(task: Task, data: DataSpec) -> None:
    """Raise UserError if the rows cannot be had, before a run's slow imports; reads no rows."""
    own, folder = data.file or data.hub or task.files, data.dir or os.environ.get(ENV_DIR)
    if task.glue is not None and source_of(data) == "local" and folder:
        _require_folder(task, Path(folder))
    if data.file and data.source != "toy":
        files_of(data.file)
    if data.source == "toy" or (own if task.glue is None else source_of(data) != "hub"):
        return
    if task.hub is not None:
        require_hub(task)


def companion_splits(task: Task, data: DataSpec) -> dict[str, Split]:
    """Test rows of the tasks that a model of this task also answers (mnli: ax), if they can be had."""
    found = {}
    for name in task.glue.also if task.glue is not None else ():
        try:
            splits = load_splits(TASKS[name], data)
        except UserError:
            continue
        if "test" in splits.parts:
            found[name] = splits.parts["test"]
    return found


def load_local(task: Task, root: Path, *, allow_partial: bool = False) -> Splits:
    """The splits in `root/<task>/`: from Parquet files if there are any, otherwise from the official TSV files."""
    folder = _require_folder(task, root)
    parts: dict[str, Split] = {}
    partial, notes = [], []
    for name in task.splits:
        split = read_local_split(task, folder, name)
        if split is None:
            continue
        official = task.rows[name]
        if len(split) != official:
            if not allow_partial:
                raise UserError(
                    f"{folder}: {task.name} {name} has {len(split)} rows, officially {official}. "
                    "Get the whole split, or give data.allow_partial=true (the record then says so)."
                )
            partial.append(name)
        parts[name] = split
        notes += split_notes(split)
    sought = {name: _sought(task, folder, name) for name in task.splits}
    splits = Splits(task.name, "local", str(folder), parts, tuple(partial), tuple(notes), sought)
    if not parts:
        splits.part(task.splits[0])  # raises UserError: no split was found
    return splits


def _require_folder(task: Task, root: Path) -> Path:
    """The task's folder in `root`. Raises UserError that lists the folders there."""
    if not root.is_dir():
        raise UserError(
            f"data.dir={root} is not a folder. Give one that holds {task.name}/<split>.parquet or TSVs."
        )
    folder = task_folder(task, root)
    if folder is None:
        there = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folders"
        raise UserError(
            f"data.dir={root} holds no folder for task={task.name}; there: {there}.\n"
            f"Add {root / task.name}, fetch GLUE with `petbench data fetch DIR`, or use data=toy."
        )
    return folder


def task_folder(task: Task, root: Path) -> Path | None:
    """The task's folder in `root`, in any spelling: `rte`, `RTE`, `SST-2`. None when there is none."""
    names = folder_names(task)
    candidates = [path for path in sorted(root.iterdir()) if path.is_dir()]
    plain = {path: path.name.lower().replace("-", "").replace("_", "") for path in candidates}
    for name in names:
        for path in candidates:
            if plain[path] == name:
                return path
    return None


def _parquet_files(folder: Path, split: str) -> list[Path]:
    """`train.parquet`, or the hub's `train-00000-of-00001.parquet` pieces."""
    whole = folder / f"{split}.parquet"
    return [whole] if whole.is_file() else sorted(folder.glob(f"{split}-*-of-*.parquet"))


def _sought(task: Task, folder: Path, split: str) -> str:
    """The names of the files that may hold a split, for messages."""
    return " or ".join([f"{folder / split}.parquet", *file_names(task, split)])


def read_local_split(task: Task, folder: Path, split: str) -> Split | None:
    """One split from its file, or None when there is none."""
    pieces = _parquet_files(folder, split)
    if pieces:
        columns = _read_parquet(task, pieces)
        return checked_split(task, split, columns, lambda row: f"{pieces[0]}, row {row}")
    path = find_tsv(folder, task, split)
    if path is None:
        return None
    raw = read_tsv(path, task, split)
    return checked_split(task, split, raw.columns, raw.place)


def _read_parquet(task: Task, pieces: list[Path]) -> dict[str, list[Any]]:
    """Text fields, `label` and `idx`. Raises UserError on a broken file or a missing column."""
    # pyarrow takes most of a second
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {name: [] for name in (*task.text_fields, "label", "idx")}
    for path in pieces:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}. Replace the file.") from error
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            there = ", ".join(table.column_names)
            raise UserError(f"{path}: no column '{missing[0]}' for {task.name}; columns there: {there}.")
        for name, values in columns.items():
            try:
                values += table.column(name).to_pylist()
            except UnicodeDecodeError as error:
                row = _first_broken_row(table.column(name))
                raise UserError(f"{path}, row {row}: broken UTF-8 in {name}. Replace the file.") from error
    return columns


def _first_broken_row(column: Any) -> int:
    """Position of the first string that is not UTF-8."""
    for row, value in enumerate(column):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return -1
