"""One run on toy rows in this process, for the end-to-end tests."""

from pathlib import Path

from petbench.cli import run_command
from petbench.record import Record, read_record

BASE = ["train", "task=rte", "model=tiny_bert", "data=toy", "trainer.precision=fp32", "trainer.device=cpu"]


def train(*overrides: str, status: int = 0, results: str = "results") -> Record:
    """One run; its record. `results` must hold no other run."""
    assert run_command([*BASE, f"results_dir={results}", *overrides]) == status
    (folder,) = Path(results, "runs").iterdir()
    record = read_record(folder)
    assert record is not None
    return record


def adapter_file(record: Record, results: str = "results") -> Path:
    return Path(results, "runs", record.run_id, "adapter/adapter.safetensors")
