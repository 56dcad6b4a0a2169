"""Read the official GLUE TSV files, which differ in their headers, as raw columns."""

from dataclasses import dataclass
from pathlib import Path

from petbench.config.task import Task
from petbench.errors import UserError

# Column names of the official files that differ from the hub's.
_TEXT_HEADERS: dict[str, tuple[str, ...]] = {
    "mrpc": ("#1 String", "#2 String"),
    "mnli": ("sentence1", "sentence2"),
    "ax": ("sentence1", "sentence2"),
}
_LABEL_HEADERS = {"mrpc": "Quality", "stsb": "score", "qqp": "is_duplicate", "mnli": "gold_label"}
_COLA_COLUMNS = ("source", "label", "mark", "sentence")  # CoLA's train and dev files have no header

# The official QQP files have a few truncated lines. The hub leaves them out, and so does this module; the number of
# rows is checked afterwards. In the files of the other tasks a truncated line is an error.
_HAS_CUT_LINES = ("qqp",)

_MRPC_WHOLE = "msr_paraphrase_train.txt"  # train and validation together; dev_ids.tsv tells them apart

_FOLDERS = {"ax": ("ax", "diagnostic", "diagnostics"), "qnli": ("qnli", "qnliv2")}


@dataclass(frozen=True)
class RawRows:
    """Columns as read, with the line number of every row for messages."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def place(self, row: int) -> str:
        """`file, line 12`."""
        return f"{self.path}, line {self.lines[row]}" if row < len(self.lines) else str(self.path)


def folder_names(task: Task) -> tuple[str, ...]:
    """Names of the task's folder in lower case without `-` and `_`: `sst2` for `SST-2`."""
    return _FOLDERS.get(task.name, (task.name,))


def file_names(task: Task, split: str) -> tuple[str, ...]:
    """The names that the official file of a split may have; the first that exists is read."""
    if task.name == "ax":
        return ("diagnostic.tsv", "ax.tsv", "test.tsv")
    stem = split.replace("validation", "dev")
    names: tuple[str, ...] = (f"{stem}.tsv",) if stem == split else (f"{stem}.tsv", f"{split}.tsv")
    if task.name == "mrpc":
        whole = "msr_paraphrase_test.txt" if split == "test" else _MRPC_WHOLE
        names = (whole, *names)
    return names


def find_tsv(folder: Path, task: Task, split: str) -> Path | None:
    """The official file of a split in the folder, or None."""
    for name in file_names(task, split):
        path = folder / name
        cut_by = folder / "dev_ids.tsv" if name == _MRPC_WHOLE else path
        if path.is_file() and cut_by.is_file():
            return path
    return None


def read_tsv(path: Path, task: Task, split: str) -> RawRows:
    """One split from an official file: text fields, `label` (not for test splits) and `idx`, all as read.

    Quotes are text. `idx` is the row's number in the file. Raises UserError with file and line on broken
    UTF-8, on a line whose number of fields differs from the header's, and on a missing column.
    """
    lines = _decoded_lines(path)
    headerless = task.name == "cola" and split not in task.test
    if headerless:
        header: list[str] = list(_COLA_COLUMNS)
        body = list(enumerate(lines, start=1))
    else:
        if not lines:
            raise UserError(f"{path} is empty. Give the whole file.")
        header = lines[0].split("\t")
        body = list(enumerate(lines[1:], start=2))
    wanted = dict(zip(task.text_fields, _TEXT_HEADERS.get(task.name, task.text_fields), strict=True))
    if split not in task.test:
        wanted["label"] = _LABEL_HEADERS.get(task.name, "label")
    missing = [name for name in wanted.values() if name not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: no column '{missing[0]}' for {task.name}; columns there: {', '.join(header)}."
        )
    rows, numbers = _split_fields(path, body, len(header), skip_cut=task.name in _HAS_CUT_LINES)
    kept = (
        _mrpc_part(path, header, rows, split) if path.name == "msr_paraphrase_train.txt" else range(len(rows))
    )
    columns = {field: [rows[i][header.index(name)] for i in kept] for field, name in wanted.items()}
    # The row's number among the lines of the file, as on the hub: it has gaps where rows were left out.
    first = body[0][0] if body else 0
    columns["idx"] = [str(numbers[i] - first) for i in kept]
    return RawRows(path, columns, [numbers[i] for i in kept])


def _decoded_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file without their ends and without a byte order mark."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    pieces = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if pieces and not pieces[-1].strip():
        pieces.pop()
    lines = []
    for number, piece in enumerate(pieces, start=1):
        try:
            lines.append(piece.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {number}: broken UTF-8 at byte {error.start}. Save the file as UTF-8."
            ) from error
    return lines


def _split_fields(
    path: Path, body: list[tuple[int, str]], width: int, *, skip_cut: bool
) -> tuple[list[list[str]], list[int]]:
    """The fields of every line, and the line numbers."""
    rows, numbers = [], []
    for number, line in body:
        fields = line.split("\t")
        if len(fields) < width and skip_cut:
            continue
        if len(fields) != width:
            raise UserError(
                f"{path}, line {number}: {len(fields)} tab-separated fields, expected {width}. "
                "Correct or replace the file."
            )
        rows.append(fields)
        numbers.append(number)
    return rows, numbers


def _mrpc_part(path: Path, header: list[str], rows: list[list[str]], split: str) -> list[int]:
    """MRPC's train file holds train and validation; `dev_ids.tsv` lists the pairs of the validation part."""
    pairs = {tuple(line.split("\t")[:2]) for line in _decoded_lines(path.with_name("dev_ids.tsv"))}
    first, second = header.index("#1 ID"), header.index("#2 ID")
    wanted = split == "validation"
    return [i for i, row in enumerate(rows) if ((row[first], row[second]) in pairs) == wanted]
