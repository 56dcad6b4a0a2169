"""The versions that petbench was tested with, and which of the installed ones lie outside."""

import json
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files

from packaging.version import Version

Range = tuple[str, str]  # oldest and newest version, both tested


def ranges() -> dict[str, Range]:
    """For Python and each package that petbench needs: the versions of `make test-oldest` and `make test-newest`."""
    text = (files("petbench.machine") / "tested.json").read_text(encoding="utf-8")
    return {name: (oldest, newest) for name, (oldest, newest) in json.loads(text).items()}


def needed() -> list[str]:
    """Names of the packages that the installed petbench depends on, extras left out."""
    lines = [line for line in requires("petbench") or [] if "extra ==" not in line]
    return sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of these packages, without a local part such as `+cpu`, and of Python, without its last number.

    A package that is not installed is left out.
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        try:
            found[name] = Version(version(name)).public
        except PackageNotFoundError:
            continue
    return found


def outside(tested: Mapping[str, Range], versions: Mapping[str, str]) -> list[str]:
    """A line for each package whose version is older than the oldest tested or newer than the newest tested."""
    lines = []
    for name, (oldest, newest) in tested.items():
        if name not in versions:
            lines.append(f"{name} is not installed (tested: {oldest} to {newest})")
        elif Version(versions[name]) < Version(oldest):
            lines.append(f"{name} {versions[name]} is older than what was tested: {oldest} to {newest}")
        elif Version(versions[name]) > Version(newest):
            lines.append(f"{name} {versions[name]} is newer than what was tested: {oldest} to {newest}")
    return lines
