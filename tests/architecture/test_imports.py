"""Imports go down only, and the light rooms stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "petbench"

# Higher may import lower or its own level. The longest matching prefix counts. What is not listed is at
# the level of `run`: nothing below may import it.
LEVELS = {
    "petbench": 0,  # the version; its public doors are lazy
    "petbench.errors": 0,
    "petbench.config.paths": 0,
    "petbench.console": 1,
    "petbench.files": 1,
    "petbench.config.spec": 1,
    "petbench.config.values": 1,
    "petbench.config.mistakes": 1,
    "petbench.record": 2,  # values and files, no tensors: all that measures may fill it
    "petbench.adapters.maths.kronecker": 2,
    "petbench.machine.devices": 2,
    "petbench.models": 3,
    "petbench.tasks": 3,
    "petbench.adapters": 4,
    "petbench.training.optim": 4,
    "petbench.tuned.params": 5,  # counts what `attach` put in place
    "petbench.training.loop": 5,
    "petbench.inference.ask": 5,
    "petbench.inference.label_tree": 5,
    "petbench.tuned.attach": 5,
    "petbench.tuned.checkpoint": 5,
    "petbench.tuned.content": 5,
    "petbench.training.resume": 5,
    "petbench.lanes": 5,
    "petbench.tracking.log": 5,
    "petbench.tracking.wandb": 5,
    "petbench.tracking.sync": 5,
    "petbench.cli": 7,
    "petbench.__main__": 7,
}
RUN_LEVEL = 6
HEAVY = {"torch", "transformers", "datasets", "evaluate", "peft", "accelerate"}


def level(module: str) -> int:
    """The level of a module: its own entry, that of its nearest listed package, or that of `run`."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (found := LEVELS.get(".".join(parts[:length]))) is not None:
            return found
    return LEVELS["petbench"] if module == "petbench" else RUN_LEVEL


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Names of imported modules with their line, lazy imports too; type-checking blocks are not imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the module's full name"
            base = node.module or ""
            for alias in node.names:
                file = SOURCE / Path(*base.split(".")) / alias.name
                is_module = file.with_suffix(".py").exists() or file.is_dir()
                yield (f"{base}.{alias.name}" if is_module else base), node.lineno


def importers(allowed: set[str]) -> list[str]:
    """`module:line imports library` for each import of these libraries."""
    return [
        f"{name}:{line} imports {target}"
        for name, path in modules()
        for target, line in imported(path)
        if target.split(".")[0] in allowed
    ]


def test_imports_go_down_only() -> None:
    wrong = [
        f"{name}:{line} (level {level(name)}) imports {target} (level {level(target)})"
        for name, path in modules()
        for target, line in imported(path)
        if target.split(".")[0] == "petbench" and level(target) > level(name)
    ]
    assert not wrong, "imports that go up:\n" + "\n".join(wrong)


def test_only_the_door_knows_hydra() -> None:
    doors = (
        "petbench.cli",
        "petbench.compose.hydra",
        "petbench.compose.overrides",
        "petbench.compose.expand",
        "petbench.sweep.launch",
        "petbench.commands.train",
        "petbench.sweep.sweep",
        "petbench.conformance.case",
    )
    wrong = [line for line in importers({"hydra", "omegaconf"}) if not line.startswith(doors)]
    assert not wrong, "\n".join(wrong)


def test_records_config_and_comparison_know_no_heavy_library() -> None:
    light = (
        "petbench.report",
        "petbench.record",
        "petbench.config.spec",
        "petbench.errors",
        "petbench.tracking.log",
    )
    wrong = [line for line in importers(HEAVY) if line.startswith(light)]
    assert not wrong, "\n".join(wrong)


def test_methods_know_neither_data_nor_optimiser() -> None:
    wrong = [
        f"{name}:{line} imports {target}"
        for name, path in modules()
        if name.startswith("petbench.adapters")
        for target, line in imported(path)
        if target.startswith(("petbench.tasks", "petbench.training.optim", "datasets", "evaluate"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "package", ["petbench.record", "petbench.report", "petbench.tracking.log", "petbench.config.spec"]
)
def test_light_packages_load_no_heavy_library_even_at_second_hand(package: str) -> None:
    names = [name for name, _ in modules() if name == package or name.startswith(f"{package}.")]
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
