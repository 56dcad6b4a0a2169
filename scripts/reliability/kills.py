"""Kills, full disks and signals at fault points: the next call ends as a run that nothing happened to."""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from faults import FAULTS, REFUSALS, WRITES, Fault, refusing
from runs import half_there, in_child, methods, outcome, spec_for, train

from petbench.config.spec import RunSpec
from petbench.machine import signals

Verdict = tuple[str, str]  # exact, refused or lost; of what


@cache
def spec(method: str) -> RunSpec:
    return spec_for(method)


@cache
def whole(method: str, place: Path) -> Any:
    """What the method's run ends with when it is let be."""
    results = place / "whole" / method.replace("/", "-")
    if in_child(lambda: train(spec(method), results), results.with_suffix(".log")) != 0:
        raise SystemExit(f"the undisturbed run of {method} failed: {results.with_suffix('.log')}")
    return outcome(results)


def disturbed(method: str, fault: Fault, act: Callable[[], None], ends: set[int], place: Path) -> Verdict:
    """One run with a fault, and the call after it."""
    expected = whole(method, place)
    name = f"{method} at {fault.name}"
    results = place / "disturbed" / name.replace("/", "-").replace(" ", "_")
    log = results.with_suffix(".log")

    def broken() -> None:
        fault.arm(act)
        train(spec(method), results)

    status = in_child(broken, log)
    if status not in ends:
        return "lost", f"{name}: exit {status} where {sorted(ends)} was due ({log})"
    if half_there(results):
        return "lost", f"{name}: a half record ({log})"
    again = in_child(lambda: train(spec(method), results), log)
    if again == 2:
        return "refused", f"{name} ({log})"
    found = outcome(results)
    if again != 0 or found != expected:
        apart = [] if found is None else [key for key in expected if found[key] != expected[key]]
        return "lost", f"{name}: exit {again}, differs in {apart or 'all'} ({log})"
    shutil.rmtree(results)
    return "exact", name


def kills(place: Path, count: int, seed: int) -> list[Verdict]:
    """SIGKILL: every method in turn, every fault point in turn, in a seeded order."""
    moments, names = random.Random(seed), methods()
    faults = [*FAULTS]
    moments.shuffle(faults)

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    found = []
    for number in range(count):
        method, fault = names[number % len(names)], faults[number % len(faults)]
        # A fault that a method's run does not come to leaves a finished run: that is no kill.
        found.append(disturbed(method, fault, kill, {-signal.SIGKILL}, place))
    return found


def disks(place: Path, every: int) -> list[Verdict]:
    """A disk that refuses each of the last writes, the resume state and the config, once."""
    files = {f"{file}, whole" for file in (*WRITES, "resume state 1", "config.yaml")}
    faults = [fault for fault in FAULTS if fault.name in files]
    cases = [(fault, word) for fault in faults for word in REFUSALS]
    found = []
    for fault, word in cases[::every]:
        ends = {2} if word == "read-only" else {1}
        named = Fault(f"{fault.name} ({word})", fault.arm)
        found.append(disturbed("krona", named, refusing(REFUSALS[word]), ends, place))
    return found + small_disks(place / "small", every)


SIZES = range(8, 97, 8)  # KiB; the small run leaves about 60, some of it in whole pages of 4


def small_disks(folder: Path, every: int) -> list[Verdict]:
    """A real disk that is full at another place for each size, and then has room; where one may be mounted."""
    folder.mkdir(parents=True)
    found: list[Verdict] = []
    for size in [*SIZES][:: max(1, every // 4)]:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            print("  small disks: none may be mounted here, left out")
            return found
        name = f"a disk of {size} KiB"
        try:
            full = in_child(lambda: train(spec("krona"), folder), folder.with_suffix(".log"))
            half = half_there(folder)
            subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
            again = in_child(lambda: train(spec("krona"), folder), folder.with_suffix(".log"))
            good = (
                full in (0, 1)
                and not half
                and again == 0
                and outcome(folder) == whole("krona", folder.parent)
            )
            found.append(
                ("exact" if good else "lost", f"{name}: exits {full} and {again}, half there: {half}")
            )
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    return found


def stops(place: Path, every: int) -> list[Verdict]:
    """SIGINT, SIGTERM and SIGHUP at every fault point before the record has its name."""
    numbers = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
    faults = [f for f in FAULTS if f.name not in ("record.json, after", "dropping the resume state")]
    faults = [f for f in faults if "half" not in f.name and f.name != "record.json, whole"]
    cases = [(fault, number) for fault in faults for number in numbers]
    found = []
    for fault, number in cases[::every]:

        def stop(number: int = number) -> None:
            os.kill(os.getpid(), number)

        named = Fault(f"{fault.name} ({signal.Signals(number).name})", _in_signals(fault))
        found.append(disturbed("krona", named, stop, {numbers[number]}, place))
    return found


def _in_signals(fault: Fault) -> Callable[[Callable[[], None]], None]:
    def arm(act: Callable[[], None]) -> None:
        for number in signals.STOPS:  # a background job has SIGINT ignored
            signal.signal(number, signal.default_int_handler)
        fault.arm(act)

    return arm
