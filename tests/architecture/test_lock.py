"""The lock and pyproject agree, no place of one machine stands in the lock, and `make env` installs from it."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from petbench.machine.tested import ranges

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "constraints/lock.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
# The Ray launcher wants another cloudpickle than the rest: it is installed on top, outside the lock.
EXTRAS = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "ray"}
OPTIONAL = [
    Requirement(line) for lines in EXTRAS.values() for line in lines if not line.startswith("petbench")
]
PINS = {
    canonicalize_name(pin.name): pin
    for line in LOCK.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for pin in [Requirement(line)]
}


def pinned(name: str) -> str:
    """The version of a package in the lock."""
    (specifier,) = PINS[canonicalize_name(name)].specifier
    return specifier.version


def test_a_line_of_the_lock_is_one_exact_version_and_nothing_else() -> None:
    """No host, folder, digest or local build: `torch==2.13.0` is met by the CPU build and by the CUDA build."""
    line = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][a-z0-9.]*( ; [^/@:]+)?")
    lines = [text for text in LOCK.read_text(encoding="utf-8").splitlines() if not text.startswith("#")]
    assert len(lines) > 100
    assert not [text for text in lines if not line.fullmatch(text)]
    assert "/" not in LOCK.read_text(encoding="utf-8")


@pytest.mark.parametrize("requirement", [*NEEDED, *OPTIONAL], ids=str)
def test_the_lock_pins_what_pyproject_asks_for_inside_its_bounds(requirement: Requirement) -> None:
    assert requirement.name in PINS, "run: make lock"
    assert requirement.specifier.contains(pinned(requirement.name)), "run: make lock"


def test_the_lock_pins_what_the_packages_bring_themselves() -> None:
    """From the names in pyproject down through what each installed package says that it needs."""
    waiting, seen = [*NEEDED, *OPTIONAL], set[tuple[str, frozenset[str]]]()
    while waiting:
        package = waiting.pop()
        key = (canonicalize_name(package.name), frozenset(package.extras))
        if key in seen:
            continue
        seen.add(key)
        for inner in map(Requirement, requires(package.name) or []):
            if inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for extra in package.extras or {""}
            ):
                waiting.append(inner)
    assert len(seen) > 100
    assert not sorted(name for name, _ in seen if name not in PINS)


def test_this_environment_is_the_locked_one() -> None:
    """Only names that pyproject asks for: a package that somebody added to the environment is their affair."""
    here = {requirement.name: Version(version(requirement.name)).public for requirement in NEEDED}
    assert here == {name: pinned(name) for name in here}, "run: make env"


@pytest.mark.parametrize("requirement", NEEDED, ids=str)
def test_the_bounds_are_those_that_were_tested(requirement: Requirement) -> None:
    oldest, newest = map(Version, ranges()[requirement.name])
    bounds = {specifier.operator: Version(specifier.version) for specifier in requirement.specifier}
    assert set(bounds) == {">=", "<"}
    assert bounds[">="] == oldest, "run: make test-oldest"
    assert oldest <= Version(pinned(requirement.name)) <= newest < bounds["<"], "run: make test-newest"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that make the environment, beside stand-ins that note how they were called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "constraints", tmp_path / "constraints")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for environment in (".venv", ".venv-newest", ".venv-oldest"):
        programs = tmp_path / environment / "bin"
        programs.mkdir(parents=True)
        for name in ("pip", "python", "uv"):
            (programs / name).write_text(
                f'#!/bin/sh\necho "{name} $* PIP_CONSTRAINT=$PIP_CONSTRAINT" >> {tmp_path}/calls\n'
                f'case "$*" in *"$FAILING"*) exit 1 ;; esac\n'
            )
            (programs / name).chmod(0o755)
    return tmp_path


def make(clone: Path, *words: str, failing: str = "never") -> subprocess.CompletedProcess[str]:
    """make with these words; a stand-in whose words hold `failing` fails. The make that runs the tests is not heard."""
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", *words], cwd=clone, env={**surroundings, "FAILING": failing}, capture_output=True, text=True
    )


def calls_of(clone: Path) -> list[str]:
    """How the stand-ins were called, in their order."""
    return (clone / "calls").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("failing", "call"),
    [
        (
            "never",
            r"uv pip install .*-c constraints/lock\.txt --build-constraints constraints/lock\.txt "
            r"-e \.\[dev,workspace\]",
        ),
        (
            "install -q -c",
            r"python -m pip install -q -e \.\[dev,workspace\] PIP_CONSTRAINT=constraints/lock\.txt",
        ),
        ("-p .venv", r"python -m pip install -q -e \.\[dev,workspace\] PIP_CONSTRAINT=constraints/lock\.txt"),
    ],
    ids=["with uv", "no uv to be had", "uv fails"],
)
def test_make_env_installs_from_the_lock(clone: Path, failing: str, call: str) -> None:
    done = make(clone, "env", failing=failing)
    assert done.returncode == 0, done.stderr
    calls = calls_of(clone)
    assert re.fullmatch(r"python -m pip install -q -c constraints/lock\.txt uv .*", calls[0])
    project = [line for line in calls if "[dev,workspace]" in line]
    assert re.match(call, project[-1])


@pytest.mark.parametrize("target", ["demo", "test", "ci", "conformance", "smoke", "lint", "types", "docs"])
def test_a_target_that_needs_packages_makes_the_environment_first(clone: Path, target: str) -> None:
    done = make(clone, "--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert "scripts/make_env.sh" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(("end", "resolution"), [("newest", "highest"), ("oldest", "lowest-direct")])
def test_an_end_is_noted_when_its_tests_pass(clone: Path, end: str, resolution: str) -> None:
    done = make(clone, f"test-{end}")
    assert done.returncode == 0, done.stderr
    *_, made, filled, weights, said, checked, noted = calls_of(clone)
    assert made.startswith("uv venv -q --clear") and f" .venv-{end} " in made
    assert f"-p .venv-{end}/bin/python --resolution {resolution} -e .[dev]" in filled
    assert "fetch_weights" in weights and f"note_tested.py {end} PIP" in said
    assert "tests/parity tests/conformance" in checked
    assert f"note_tested.py {end} --write" in noted


def test_an_end_that_fails_is_not_noted(clone: Path) -> None:
    assert make(clone, "test-newest", failing="-m pytest").returncode == 2
    assert "-m pytest" in calls_of(clone)[-1]


def test_the_ends_run_tests_that_exist() -> None:
    script = (ROOT / "scripts/test_end.sh").read_text(encoding="utf-8")
    paths = re.findall(r"tests/[\w/.]+", script)
    assert len(paths) >= 5
    assert not [path for path in paths if not (ROOT / path).exists()]
