"""An installed package that petbench has never heard of brings a task, rows and all."""

import tomllib
from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.config.tree import options
from petbench.record import read_records
from petbench.report.citations import bibtex

PACKAGE = Path(__file__).parents[1] / "outside_task"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package beside its metadata, as an installer leaves them, where Python finds it."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / "site" / f"petbench_reviews-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["petbench.tasks"]
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[petbench.tasks]", *lines]) + "\n")
    (tmp_path / "site" / "petbench_reviews").symlink_to(PACKAGE / "petbench_reviews")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_listed_trained_and_cited(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "reviews" in options("task")
    assert run_command(["list", "tasks"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("reviews ") and "is the film liked?" in line for line in listed)
    words = "train task=reviews adapter=lora model=tiny_bert trainer.max_steps=4 logger=none"
    assert run_command(words.split()) == 0
    (record,) = read_records("results")
    assert record.headline is not None and record.headline.name == "macro_f1"
    assert (record.headline.split, record.headline.n) == ("validation", 12)
    assert record.config["task"]["columns"] == {"review": "{title} : {text}"}
    assert "Made-up Reviews" in bibtex([], ["reviews"])
    assert run_command(["report", "results", "--tables-only"]) == 0
    assert "NOT GLUE" in capsys.readouterr().out
