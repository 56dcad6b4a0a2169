"""The README's commands are real: each is known, and the quick ones run on generated rows with a tiny model."""

import json
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


def shell_lines(text: str) -> list[str]:
    """Command lines of shell blocks in Markdown, continuation lines joined, comments and prompts dropped."""
    lines: list[str] = []
    for block in re.findall(
        r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                lines.append(shlex.join(words))
    return lines


README = shell_lines((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documents_is_known(path: Path) -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    unknown = []
    for line in shell_lines(path.read_text(encoding="utf-8")):
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


def test_the_readme_shows_the_two_commands_of_a_fresh_machine() -> None:
    assert {"make demo", "make test"} <= set(README)


def test_the_readme_is_one_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 75


def test_the_readmes_block_of_quick_commands_runs_as_it_stands(tmp_path: Path) -> None:
    """In order, in one empty folder: what a reader would do."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- run:[^>]*-->\n(```bash\n.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    assert found, "README.md marks one block with <!-- run: … -->"
    lines = shell_lines(found[1])
    assert len(lines) >= 4
    program = str(Path(sys.executable).with_name("petbench"))
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "petbench"
        done = subprocess.run([program, *words], capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert done.stdout.strip(), line
    records = list(tmp_path.glob("results/runs/*/record.json"))
    assert len(records) == 4  # the first run is one of the sweep's
    scores = [json.loads(path.read_text(encoding="utf-8"))["headline"]["value"] for path in records]
    assert min(scores) > 0.8, "a reader's first runs learn something"
    assert list(tmp_path.glob("results/report/*.html"))
