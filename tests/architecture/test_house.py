"""The house's rules on files: one job, short, said in the first line; the loop knows no name."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "src").rglob("*.py"))
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))

# Choices that are made without being named: a default, and rows that another task's run answers.
UNNAMED = {("data", "auto"), ("task", "ax")}


def relative(path: Path) -> str:
    """For test names."""
    return str(path.relative_to(ROOT))


def test_files_stay_under_300_lines() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: length for name, length in lengths.items() if length > 300}
    assert not long, f"files past 300 lines; ask what moved in: {long}"


def test_no_file_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [relative(path) for path in FILES if path.stem in drawers or drawers & set(path.parent.parts)]


def test_every_file_says_its_job_in_one_line() -> None:
    silent = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree) or ""
        if tree.body and not (docstring and docstring.splitlines()[0].strip()):
            silent.append(relative(path))
    assert not silent, f"no module docstring: {silent}"


def test_the_loop_knows_no_method_and_no_task() -> None:
    text = (ROOT / "src/petbench/training/loop.py").read_text(encoding="utf-8")
    names = {path.stem for path in YAMLS if path.parent.name in ("adapter", "task", "peft", "recipe")}
    names |= {path.stem for path in (ROOT / "src/petbench/adapters/methods").glob("*.py")}
    words = set(re.findall(r"\w+", text.lower()))
    assert not (names - {"__init__", "own"}) & words  # `task=own` is an English word, too


def test_the_loop_is_under_60_lines() -> None:
    tree = ast.parse((ROOT / "src/petbench/training/loop.py").read_text(encoding="utf-8"))
    (loop,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    assert loop.end_lineno is not None
    assert loop.end_lineno - loop.lineno + 1 < 60


@pytest.mark.parametrize("path", YAMLS, ids=relative)
def test_a_yaml_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    first, second, *_ = [*path.read_text(encoding="utf-8").splitlines(), "", ""]
    if first.startswith("# @package"):  # Hydra wants its directive first
        first, second = second, path.read_text(encoding="utf-8").splitlines()[2]
    assert re.match(r"# \S", first), "the first line is a comment that says what this choice is"
    assert re.match(r"# petbench \w+", second), "the second line is a comment with the command that runs it"


@pytest.mark.parametrize("path", YAMLS, ids=relative)
def test_a_yamls_command_names_the_yaml(path: Path) -> None:
    """A command copied from another file is worse than none."""
    comments = [
        line for line in path.read_text(encoding="utf-8").splitlines()[:3] if line.startswith("# petbench")
    ]
    group = path.relative_to(ROOT / "conf").parent.as_posix()
    if group in (".", "base", "wandb") or not comments or (group, path.stem) in UNNAMED:
        return
    top, _, folder = group.partition("/")
    name = f"{folder}/{path.stem}" if folder and top != "hydra" else path.stem
    key = {"hydra": group, "plugin": "hydra/(launcher|sweeper)"}.get(top, re.escape(top))
    assert re.search(rf"[+~]?{key}=\S*{re.escape(name)}\b", comments[0]), comments[0]


def test_the_top_level_stays_a_floor_plan() -> None:
    """At most 24 entries, 8 of them files; each package says in its first line what is in it."""
    top = [path for path in (ROOT / "src/petbench").iterdir() if path.name != "__pycache__"]
    files = sorted(path.name for path in top if path.is_file())
    assert len(top) <= 24 and len(files) <= 8, files
    for init in (ROOT / "src/petbench").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), relative(init)


def test_ci_runs_exactly_make_ci() -> None:
    commands = [
        line.strip()
        for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
        if "make " in line and not line.lstrip().startswith(("#", "echo", "if", "apt-get"))
    ]
    assert commands == ["exec make ci </dev/null"]
