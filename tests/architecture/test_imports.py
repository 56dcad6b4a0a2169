"""Start-up stays light: what answers at once loads no heavy library, and an import stands at the top of its file
unless start-up is the reason. (Who may import whom: pyproject.toml.)"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "petbench"

HEAVY = {"torch", "transformers", "datasets", "evaluate", "peft", "accelerate"}


def modules(package: str) -> Iterator[str]:
    """Every module of a package, and the package itself."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if name == package or name.startswith(f"{package}."):
            yield name


@pytest.mark.parametrize(
    "package",
    ["petbench.record", "petbench.report", "petbench.tracking", "petbench.config", "petbench.compose"],
)
def test_light_packages_load_no_heavy_library_even_at_second_hand(package: str) -> None:
    names = list(modules(package))
    assert names, f"{package} is gone: change this test"
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        *(["list", what] for what in ("adapters", "tasks", "models", "recipes")),
    ],
    ids=" ".join,
)
def test_quick_commands_load_neither_torch_nor_transformers(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom petbench.cli import main\n"
        f"sys.argv = ['petbench', *{arguments!r}]\n"
        "try:\n    code = main()\nexcept SystemExit as error:\n    code = error.code\n"
        f"print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert last == "LOADED"
    nothing_there = arguments[-1] == "recipes" and not list(
        (SOURCE.parent / "conf" / "recipe").glob("*.yaml")
    )
    assert said or nothing_there, "the command printed nothing"


COMMANDS = {
    "petbench/cli.py",
    *(f"petbench/commands/{path.name}" for path in (PACKAGE / "commands").iterdir()),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def late_imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    """Imports inside functions and under `if TYPE_CHECKING:`, each once."""
    found = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.If)
        for node in ast.walk(outer)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return sorted(found, key=lambda node: node.lineno)


def without_a_reason(source: str, command: bool) -> list[str]:
    """Late imports that the house does not allow: one of petbench's own outside the commands (there, start-up is the
    reason), or a foreign one without a comment on its line or above its block."""
    lines = ["", *source.splitlines()]
    found = []
    explained = 0  # the last line of a block whose reason is said
    for node in late_imports(ast.parse(source)):
        modules = (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
        )
        own = any(module.split(".")[0] == "petbench" for module in modules)
        above = lines[node.lineno - 1]
        said = "#" in lines[node.lineno] or explained == node.lineno - 1
        said = said or above.strip().startswith("#") or ("TYPE_CHECKING:" in above and "#" in above)
        if said:
            explained = node.end_lineno or node.lineno
        if (own and not command) or (not own and not said):
            found.append(f"line {node.lineno}: {lines[node.lineno].strip()}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_stand_at_the_top_or_say_why_not(path: Path) -> None:
    command = path.relative_to(SOURCE).as_posix() in COMMANDS
    assert not without_a_reason(path.read_text(encoding="utf-8"), command)


@pytest.mark.parametrize(
    ("source", "command", "found"),
    [
        ("def f():\n    from petbench.files import write_text\n", False, 1),
        ("def f():\n    from petbench.files import write_text  # a reason\n", False, 1),
        ("if TYPE_CHECKING:  # a reason\n    from petbench.record import Record\n", False, 1),
        ("def f():\n    from petbench.files import write_text\n", True, 0),
        ("def f():\n    import torch\n", True, 1),
        ("def f():\n    import torch\n", False, 1),
        ("def f():\n    import torch  # it takes seconds\n", False, 0),
        ("def f():\n    # both take seconds\n    import torch\n    import peft\n", False, 0),
        ("def f():\n    import torch  # it takes seconds\n\n    import peft\n", False, 1),
        ("if TYPE_CHECKING:\n    import torch\n", False, 1),
        ("if TYPE_CHECKING:  # it takes seconds\n    import torch\n    import peft\n", False, 0),
        ("import torch\n", False, 0),
    ],
)  # fmt: skip
def test_the_search_finds_a_late_import(source: str, command: bool, found: int) -> None:
    assert len(without_a_reason(source, command)) == found
