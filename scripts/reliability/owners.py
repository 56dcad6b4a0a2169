"""Claims and concurrency: no run is trained twice at once, nobody is robbed, nobody waits for ever."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path

from kills import Verdict, spec, whole
from runs import outcome, start, train, wait

from petbench.training import claim
from petbench.training.claim import Busy, claimed
from petbench.training.claim_file import CLAIM_FILE, Owner, this_process

THEIRS = Owner("other-host", 1, 1.0, "another boot", "pid:[1]", "theirs")
HOLD = (
    "import sys; from pathlib import Path; from petbench.training.claim import claimed, Busy\n"
    "try:\n    with claimed(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.readline()\n"
    "except Busy: print('busy', flush=True)"
)
SPACE = ["unshare", "-rpf", "--mount-proc"]


def claims(place: Path) -> list[Verdict]:
    """Two hosts simulated, two name spaces where this machine allows them, broken files, robbed owners."""
    before = claim.HEARTBEAT_SECONDS, claim.DEAD_AFTER_SECONDS
    claim.HEARTBEAT_SECONDS, claim.DEAD_AFTER_SECONDS = 0.05, 0.5
    try:
        with (place / "claims.log").open("w") as log, redirect_stdout(log):
            found = [_judged(place / f"claim{n}", *case) for n, case in enumerate(_cases())]
            found += [_robbed(place / "robbed"), *_spaces(place / "spaces")]
    finally:
        claim.HEARTBEAT_SECONDS, claim.DEAD_AFTER_SECONDS = before
    return found


def _cases() -> Iterator[tuple[str, str, float, float | None, bool]]:
    """What, the claim's text, how old its time says it is, how far apart its owner's clock is (None: dead), taken."""
    there = json.dumps(asdict(THEIRS))
    for age in (0.0, 59.0, 61.0, 3600.0, -60.0, -1e8):
        yield f"another host, {age:g} s old, dead", there, age, None, True
        for apart in (0.0, 60.0, -3600.0):
            yield f"another host, {age:g} s old, alive, its clock {apart:g} s apart", there, age, apart, False
    here = asdict(this_process()) | {"token": "dead"}
    for change in ({"pid": 2**22 - 1}, {"started": 1.0}, {"space": "pid:[1]"}, {"host": "renamed"}):
        yield f"this machine, dead, {change}", json.dumps(here | change), 0.0, None, True
    for text in (
        "",
        "{",
        "[]",
        "null",
        '{"host": 1}',
        "\0" * 200,
        "x" * 20_000,
        '{"pid": "' + "9" * 500 + '"}',
    ):
        yield f"a broken claim, dead: {text[:12]!r}", text, 0.0, None, True
        yield f"a broken claim, alive: {text[:12]!r}", text, 0.0, 0.0, False


def _judged(folder: Path, what: str, text: str, age: float, apart: float | None, taken: bool) -> Verdict:
    folder.mkdir(parents=True)
    path = folder / CLAIM_FILE
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    began = time.monotonic()
    try:
        with _touched(path, apart), claimed(folder):
            got = True
    except Busy:
        got = False
    in_time = time.monotonic() - began < 10
    return ("exact" if got == taken and in_time else "lost"), what


@contextmanager
def _touched(path: Path, apart: float | None) -> Iterator[None]:
    """The owner's heartbeat, by a clock so many seconds apart; None: there is none."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.02):
            now = time.time() + (apart or 0.0)
            os.utime(path, (now, now))

    thread = threading.Thread(target=beat)
    if apart is not None:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if apart is not None:
            thread.join()


def _robbed(folder: Path) -> Verdict:
    with claimed(folder) as mine:
        (folder / CLAIM_FILE).write_text(json.dumps(asdict(THEIRS)))
        time.sleep(0.3)
        try:
            mine.require()
        except Busy:
            kept = json.loads((folder / CLAIM_FILE).read_text())["token"] == "theirs"
            return ("exact" if kept else "lost"), "an owner that was robbed stops"
    return "lost", "an owner that was robbed goes on"


def _spaces(folder: Path) -> list[Verdict]:
    """Two containers of one host name: each its own process 1."""
    if shutil.which("unshare") is None or subprocess.run([*SPACE, "true"], capture_output=True).returncode:
        print("  two name spaces: not allowed on this machine, left out")
        return []
    command = [*SPACE, sys.executable, "-c", HOLD, str(folder)]

    def said(by: Callable[[], str], want: str, what: str) -> Verdict:
        return ("exact" if by() == want else "lost"), what

    def second() -> str:
        return subprocess.run(command, input="\n", capture_output=True, text=True).stdout.splitlines()[-1]

    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    out = first.stdout
    found = [said(lambda: out.readline().strip(), "mine", "a first name space")]
    found.append(said(second, "busy", "a second name space while the first trains"))
    first.kill()
    first.communicate()
    found.append(said(second, "mine", "a second name space after the first was killed"))
    return found


def concurrency(place: Path, rounds: int) -> list[Verdict]:
    """Four processes on one run: one trains it, the others say who does, and all end."""
    found = []
    expected = whole("krona", place)
    for number in range(rounds):
        results = place / f"four{number}"
        logs = [place / f"four{number}.{n}.log" for n in range(4)]
        ends = [wait(child) for child in [start(partial(train, spec("krona"), results), log) for log in logs]]
        text = [log.read_text() for log in logs]
        trained = sum("step 6/6" in said for said in text)
        told = all(
            status == 0 or "is being trained by another process" in said
            for status, said in zip(ends, text, strict=True)
        )
        good = trained == 1 and told and set(ends) <= {0, 1} and outcome(results) == expected
        found.append(("exact" if good else "lost", f"four processes, exits {ends}, trained {trained} times"))
    return found
