"""Find the user's own rows in a file, a folder or a package, and read each split once, as raw columns."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from petbench.config.sections import DataSpec
from petbench.config.task import Task
from petbench.errors import UserError
from petbench.tasks.rows.columns import columns_of
from petbench.tasks.rows.files import KINDS, read_file
from petbench.tasks.rows.raw import Raw, require_texts

SAMPLE = 1000  # rows from which the columns are guessed
SPLITS: Mapping[str, tuple[str, ...]] = {  # split -> names of its file in a folder, without ending
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def files_of(place: str) -> dict[str, Path]:
    """Split -> file. A single file holds train rows; a folder has a train file, and validation and test if it likes.

    Raises UserError when there is no such place or no train file, or when there are two files for a split.
    """
    path = package_folder(place) if place.startswith("package:") else Path(place)
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise UserError(f"data.file: there is no file or folder {path}.")
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        there = [
            path / f"{name}{kind}" for name in names for kind in KINDS if (path / f"{name}{kind}").is_file()
        ]
        if len(there) > 1:
            shown = " and ".join(file.name for file in there)
            raise UserError(f"data.file: {path} has {shown} for {split}. Keep one.")
        found |= {split: there[0]} if there else {}
    if "train" not in found:
        files = ", ".join(sorted(file.name for file in path.iterdir() if file.is_file())) or "no files"
        raise UserError(
            f"data.file: {path} has no train file; there: {files}. Name it train with one of "
            f"{', '.join(KINDS)}; validation and test are found beside it."
        )
    return found


def package_folder(place: str) -> Path:
    """`package:<module>/<folder>` as a path. Raises UserError when the package is not installed."""
    module, _, folder = place.removeprefix("package:").partition("/")
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise UserError(f"files: package '{module}' ({place}) is not installed. Install it.")
    return Path(next(iter(found.submodule_search_locations))) / folder


def own_rows(task: Task, data: DataSpec) -> dict[str, Raw]:
    """The raw columns of every split, from the files that `data` or the task's YAML names."""
    wanted = (*columns_of(task.text_fields, task.columns), task.label)
    files = files_of(data.file or task.files or "")
    stamps = tuple((split, str(path), *stamp(path)) for split, path in files.items())
    return dict(_read(stamps, wanted))


def stamp(path: Path) -> tuple[int, int]:
    """When a file was last changed (nanoseconds), and its size in bytes."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=2)  # the same file is read for the task's definition and then for its rows
def _read(
    files: tuple[tuple[str, str, int, int], ...], wanted: tuple[str, ...]
) -> tuple[tuple[str, Raw], ...]:
    *texts, label = wanted
    found = []
    for split, path, *_ in files:
        columns: Sequence[str] = wanted
        if split == "test" and label not in read_file(Path(path), most=SAMPLE).columns:
            columns = texts
        raw = read_file(Path(path), columns, "every split needs the columns of train")
        if not len(raw):
            raise UserError(f"{path} has no rows. Give a file with at least one.")
        for name in texts:
            require_texts(raw, name)
        found.append((split, raw))
    return tuple(found)


def sample_of(data: DataSpec) -> Raw:
    """The first train rows with all columns."""
    path = files_of(data.file or "")["train"]
    sample = read_file(path, most=SAMPLE)
    if not len(sample):
        raise UserError(f"{path} has no rows. Give a file with at least one.")
    return sample
