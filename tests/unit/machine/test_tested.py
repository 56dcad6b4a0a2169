"""Which versions lie outside the tested range, and what is compared: public versions, Python's first two numbers."""

import re
from importlib.metadata import version

import pytest

from petbench.machine.tested import installed, needed, outside, ranges

RANGES = {"python": ("3.11", "3.12"), "torch": ("2.9.0", "2.14.1"), "pandas": ("2.2.2", "3.1.1")}
INSIDE = {"python": "3.11", "torch": "2.13.0", "pandas": "3.1.1"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, None),
        ({"torch": "2.9"}, None),
        ({"torch": "2.14.1"}, None),
        ({"torch": "2.14.2"}, "torch 2.14.2 is newer than what was tested: 2.9.0 to 2.14.1"),
        ({"torch": "2.100.0"}, "torch 2.100.0 is newer than what was tested: 2.9.0 to 2.14.1"),
        ({"torch": "2.15.0.dev1"}, "torch 2.15.0.dev1 is newer than what was tested: 2.9.0 to 2.14.1"),
        ({"torch": "2.9.0rc1"}, "torch 2.9.0rc1 is older than what was tested: 2.9.0 to 2.14.1"),
        ({"torch": "2.8.1"}, "torch 2.8.1 is older than what was tested: 2.9.0 to 2.14.1"),
        ({"python": "3.13"}, "python 3.13 is newer than what was tested: 3.11 to 3.12"),
        ({"python": "3.9"}, "python 3.9 is older than what was tested: 3.11 to 3.12"),
        ({"pandas": "3.1.1.post1"}, "pandas 3.1.1.post1 is newer than what was tested: 2.2.2 to 3.1.1"),
    ],
    ids=str,
)
def test_a_version_outside_the_range_is_named(change: dict[str, str], line: str | None) -> None:
    assert outside(RANGES, INSIDE | change) == ([] if line is None else [line])


def test_each_package_outside_has_its_line() -> None:
    versions = {"python": "3.10", "torch": "3.0"}
    assert outside(RANGES, versions) == [
        "python 3.10 is older than what was tested: 3.11 to 3.12",
        "torch 3.0 is newer than what was tested: 2.9.0 to 2.14.1",
        "pandas is not installed (tested: 2.2.2 to 3.1.1)",
    ]


def test_a_local_build_is_the_version_that_it_is_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petbench.machine.tested.version", lambda name: "2.14.1+cu130")
    assert installed(["torch"])["torch"] == "2.14.1"


def test_a_package_that_is_not_there_has_no_version() -> None:
    found = installed(["rich", "no-such-package"])
    assert found == {"python": found["python"], "rich": version("rich")}
    assert re.fullmatch(r"3\.\d+", found["python"])


def test_every_package_that_petbench_needs_was_tested() -> None:
    """The extras are left out: a run needs none of them."""
    assert set(ranges()) == {"python", *needed()}
    assert "torch" in needed() and "scikit-learn" in needed() and "pytest" not in needed()
