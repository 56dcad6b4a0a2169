"""The README's commands are real: each is known, and the quick ones run on generated rows with a tiny model."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from petbench.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What a reader runs around petbench; the suite does not.
OTHERS = {
    "bash",
    "git",
    "cd",
    "pip",
    "python",
    "python3",
    "export",
    "eval",
    "uv",
    "source",
    "ls",
    "cat",
    "wandb",
    "sbatch",
}
# A test run of a `train` line keeps its method and task, and is small.
SMALL = {"model": "tiny_bert", "data": "toy", "trainer": "smoke"}
REPLACED = (
    "model=",
    "data=",
    "data.",
    "trainer=",
    "trainer.",
    "results_dir=",
    "logger=",
    "logger.",
    "hydra/",
)
RUNNABLE = ("train", "params", "list", "doctor", "report")


def commands(path: Path) -> list[str]:
    """Command lines of a document's shell blocks, continuation lines joined, comments and prompts dropped."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines: list[str] = []
    for block in re.findall(
        r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                lines.append(shlex.join(words))
    return lines


README = commands(ROOT / "README.md")
QUICK = sorted(
    {
        line
        for line in README
        if line.startswith("petbench ")
        and line.split()[1] in RUNNABLE
        # Capitals stand for what the reader fills in; a plan of a real model needs its config from the hub.
        and not re.search(r"(?<![\w.-])[A-Z]{2,}(?![\w-])|…|\.\.\.", line)
    }
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documents_is_known(path: Path) -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    unknown = []
    for line in commands(path):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        program, rest = (words[0], words[1:]) if words else ("", [])
        known = (
            program in OTHERS
            or (program == "petbench" and bool(rest) and (rest[0] in COMMANDS or rest[0].startswith("-")))
            or (program == "make" and bool(rest) and rest[0] in targets)
        )
        if not known:
            unknown.append(line)
    assert not unknown, f"{path.name}: not a command, or not one that exists: {unknown}"


@pytest.mark.skipif(not README, reason="README.md has no commands yet")
def test_the_readme_shows_the_two_commands_of_a_fresh_machine() -> None:
    assert {"make demo", "make test"} <= set(README)


def small(line: str, results: Path) -> list[str]:
    """The words of a README command, its models and rows made tiny, its results in the test's folder."""
    words = shlex.split(line)[1:]
    if words[0] == "train":
        words = [word for word in words if not word.startswith(REPLACED)]
        words += [f"{key}={value}" for key, value in SMALL.items()]
        words += [f"results_dir={results}", "trainer.max_steps=2"]
    elif words[0] == "report":
        words = ["report", str(results), *(word for word in words[1:] if word.startswith("-"))]
    return words


@pytest.mark.skipif(not README, reason="README.md has no commands yet")
@pytest.mark.parametrize("line", QUICK or [""])
def test_a_readme_command_runs(line: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    lines = [line]
    if line.startswith("petbench report"):
        lines.insert(0, "petbench train adapter=krona task=rte")
    for each in lines:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("petbench")), *small(each, results)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=240,
        )
        assert done.returncode == 0, f"{each}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert done.stdout.strip(), each
    if line.startswith("petbench train") and "plan=true" not in line and "--" not in line:
        assert list(results.glob("runs/*/record.json")), f"{line} left no record"
