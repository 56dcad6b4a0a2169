"""Start-up stays light: what answers at once loads no heavy library. (Who may import whom: pyproject.toml.)"""

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
