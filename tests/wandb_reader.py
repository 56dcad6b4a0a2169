"""Reads a W&B offline file back, for tests only: it leans on W&B's private format."""

import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest


def read_offline(path: Path) -> list[Any]:
    """The records of a `.wandb` file: 7-byte header, 32 KiB blocks, chunks of crc32, length, type, data."""
    pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    raw = path.read_bytes()
    if raw[:4] != b":W&B":
        pytest.skip("this W&B version writes another file format")
    records, parts, place = [], b"", 7
    while place + 7 <= len(raw):
        if (left := 32768 - place % 32768) < 7:  # too little for a header: the rest of the block is empty
            place += left
            continue
        crc, length, kind = struct.unpack("<IHB", raw[place : place + 7])
        data = raw[place + 7 : place + 7 + length]
        if kind == 0:
            break
        assert zlib.crc32(raw[place + 6 : place + 7 + length]) == crc
        parts = data if kind in (1, 2) else parts + data  # 1 full, 2 first, 3 middle, 4 last
        if kind in (1, 4):
            records.append(pb2.Record.FromString(parts))
        place += 7 + length
    return records


def offline_file(folder: Path, seconds: float = 10.0) -> list[Any]:
    """The records of a run's last offline file, once it is closed: W&B's service writes behind `finish`."""
    (*_, path) = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    end = time.monotonic() + seconds
    while True:
        records = read_offline(path)
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < end, f"{path} was never closed"
        time.sleep(0.05)


def history(records: list[Any]) -> list[dict[str, Any]]:
    """History rows as dictionaries."""
    rows = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in rows
    ]


def latest(records: list[Any], kind: str) -> dict[str, Any]:
    """`config` or `summary`: the last value of each key."""
    found: dict[str, Any] = {}
    for record in records:
        name = record.WhichOneof("record_type")
        update = record.run.config.update if (kind, name) == ("config", "run") else ()
        if name == kind:
            update = getattr(record, kind).update
        found |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update}
    return found
