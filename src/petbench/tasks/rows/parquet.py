"""Read rows from a Parquet file in batches, with the class names that the file holds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from petbench.errors import UserError
from petbench.tasks.rows.raw import Raw, no_column, with_names


def read_parquet(path: Path, wanted: Sequence[str] | None, needs: str, most: int | None, told: Any) -> Raw:
    """The wanted columns, as `files.read_file` describes; class codes become the names that `datasets` stored."""
    # pyarrow takes most of a second
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            for name in there if wanted is None else wanted:
                if name not in there:
                    raise no_column(str(path), name, there, needs)
                if there.count(name) > 1:
                    raise UserError(f"{path}: {there.count(name)} columns are called '{name}'. Keep one.")
            names = list(there if wanted is None else wanted)
            raw = Raw(str(path), {name: [] for name in names}, names=_class_names(file.schema_arrow))
            for batch in file.iter_batches(most or 65_536, columns=names):
                for name in names:
                    raw.columns[name] += with_names(batch.column(name).to_pylist(), raw.names.get(name))
                if told is not None:
                    told(path.stat().st_size * batch.num_rows // max(1, file.metadata.num_rows))
                if most is not None:
                    break
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}. Replace the file.") from error
    raw.lines = list(range(len(next(iter(raw.columns.values()), []))))
    return raw


def _class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Column -> class names, where `datasets` wrote the file and the column is a ClassLabel."""
    try:
        kept = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = kept.get("info", {}).get("features", {})
        return {name: tuple(kind["names"]) for name, kind in features.items() if "names" in kind}
    except (ValueError, AttributeError, TypeError):
        return {}
