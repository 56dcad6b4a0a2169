"""One run on toy rows in this process, for the end-to-end tests."""

from pathlib import Path

from petbench.cli import run_command
from petbench.record import Record, read_record

BASE = ["train", "task=rte", "model=tiny_bert", "data=toy", "trainer.precision=fp32", "trainer.device=cpu"]


def replacing(base: list[str], *overrides: str) -> list[str]:
    """Words of a command with these values in the place of their own: a key may stand there once."""
    given = {override.partition("=")[0] for override in overrides}
    return [word for word in base if word.partition("=")[0] not in given] + list(overrides)


def train(*overrides: str, status: int = 0, results: str = "results") -> Record:
    """One run; its record. `results` must hold no other run."""
    assert run_command(replacing(BASE, f"results_dir={results}", *overrides)) == status
    (folder,) = Path(results, "runs").iterdir()
    record = read_record(folder)
    assert record is not None
    return record


def adapter_file(record: Record, results: str = "results") -> Path:
    return Path(results, "runs", record.run_id, "adapter/adapter.safetensors")
