"""Small made-up GLUE folders for tests: parquet and the official TSV forms of the same rows."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

REAL_GLUE = Path(__file__).resolve().parents[2] / "shared" / "glue"
REAL_T5 = Path(__file__).resolve().parents[2] / "shared" / "t5_tokenizer" / "spiece.model"

RTE = {
    "sentence1": ['He said "no" twice.', "Two dogs run.", "It rained."],
    "sentence2": ["He refused.", "Animals run.", "It was dry."],
    "label": [0, 0, 1],
}


def write_parquet(
    folder: Path, split: str, columns: Mapping[str, list], label_type: pa.DataType | None = None
) -> Path:
    """`<folder>/<split>.parquet` with idx counted from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: pa.array(values) for name, values in columns.items() if name != "label"}
    arrays["label"] = pa.array(columns["label"], label_type)
    arrays["idx"] = pa.array(range(len(columns["label"])), pa.int32())
    path = folder / f"{split}.parquet"
    pq.write_table(pa.table(arrays), path)
    return path


def write_lines(path: Path, lines: list[str]) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
