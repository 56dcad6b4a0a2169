"""A page's block of commands, marked `<!-- run: … -->`, run in order in one folder and in this process."""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from petbench.cli import run_command
from petbench.record import Record, read_records

DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass
class Tour:
    """The folder of the tour, and what each command printed: status, standard output, standard error."""

    folder: Path
    said: dict[str, tuple[int, str, str]]

    def of(self, start: str) -> tuple[int, str, str]:
        (found,) = [said for line, said in self.said.items() if line.startswith(start)]
        return found

    def records(self, results: str) -> list[Record]:
        return list(read_records(self.folder / results))


def commands(page: str) -> list[str]:
    """The lines of the page's blocks that are to be run, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- run\b[^>]*-->\n+```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks, f"{page} marks a block with <!-- run: … -->"
    return "".join(blocks).replace("\\\n", " ").strip().splitlines()


def ran(line: str) -> tuple[int, str, str]:
    """What a command printed. `…/RUN` is the first run of the folder."""
    words = shlex.split(line)
    for place, word in enumerate(words):
        if word.endswith("/RUN"):
            words[place] = str(sorted(Path(word).parent.iterdir())[0])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run_command(words[1:])
    return status, out.getvalue(), err.getvalue()


@contextmanager
def toured(page: str, folder: Path) -> Iterator[Tour]:
    """The page's commands, run in the folder, which stays the working folder inside."""
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETBENCH_CACHE", str(folder / "cache"))
        patch.setenv("COLUMNS", "200")
        yield Tour(folder, {line: ran(line) for line in commands(page)})
