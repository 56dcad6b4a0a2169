"""Claims: one owner at a time, dead ones taken over, living ones never, nothing left behind."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from petbench.errors import UserError
from petbench.training import claim
from petbench.training.claim import Busy, claimed, owner, owner_here
from petbench.training.claim_file import CLAIM_FILE, Owner, this_process

ELSEWHERE = Owner("elsewhere", 1, 1.0, "another boot", "pid:[1]", "theirs")


def write_claim(folder: Path, owner: Owner, age: float = 0.0) -> Path:
    """A claim as another process would have left it; a negative age is a clock that is ahead."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CLAIM_FILE
    path.write_text(json.dumps(asdict(owner) | {"since": time.time() - age}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def dead_here(**fields: Any) -> Owner:
    """The claim of a process of this machine that was killed."""
    return replace(this_process(), token="dead", **fields)


@contextmanager
def touched(path: Path, seconds: float = 0.02) -> Iterator[None]:
    """Another machine's owner: it touches its claim, by a clock that stands an hour before ours."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(seconds):
            count += 1
            os.utime(path, (time.time() - 3600 + count, time.time() - 3600 + count))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(claim, "DEAD_AFTER_SECONDS", 0.4)


def test_a_claim_names_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "abc"
    with claimed(folder):
        assert owner(folder) == f"{socket.gethostname()}, process {os.getpid()}"
        written = json.loads((folder / CLAIM_FILE).read_text())
        assert (written["host"], written["pid"]) == (socket.gethostname(), os.getpid())
    assert owner(folder) is None
    assert not (folder / CLAIM_FILE).exists()


def test_a_second_owner_is_refused_by_name(tmp_path: Path) -> None:
    with claimed(tmp_path / "abc"):
        code = (
            "import sys; from pathlib import Path; from petbench.training.claim import claimed, Busy\n"
            "try:\n    with claimed(Path(sys.argv[1])): print('got it')\n"
            "except Busy as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "abc")], capture_output=True, text=True, check=True
        )
        expected = (
            f"run abc is being trained by another process ({socket.gethostname()}, process {os.getpid()})."
        )
        assert done.stdout.strip() == expected
        assert owner(tmp_path / "abc") is not None  # and the first one keeps it


def test_a_claim_goes_when_the_run_breaks(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path):
        _ = 1 / 0
    assert owner(tmp_path) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"pid": 2**22 - 1},
        {"started": 12345.0},  # another process has the old number
        {"space": "pid:[1]"},  # a container that is gone
        {"host": "renamed"},
    ],
    ids=str,
)
def test_a_dead_owner_of_this_machine_is_taken_over_at_once(tmp_path: Path, fields: dict[str, Any]) -> None:
    """The kernel has given its lock back: no waiting, whatever stands in the claim."""
    write_claim(tmp_path, dead_here(**fields))
    assert owner(tmp_path) is None
    began = time.monotonic()
    with claimed(tmp_path):
        assert owner(tmp_path) == f"{socket.gethostname()}, process {os.getpid()}"
    assert time.monotonic() - began < 2


def test_a_killed_owner_that_nobody_has_waited_for_is_dead(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from petbench.training.claim import claimed\n"
        "with claimed(Path(sys.argv[1])):\n    print('have it', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "have it\n"
    assert owner(tmp_path) == f"{socket.gethostname()}, process {child.pid}"
    with pytest.raises(Busy), claimed(tmp_path):
        pass
    child.kill()
    deadline = time.monotonic() + 10
    while owner(tmp_path) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert owner(tmp_path) is None  # a zombie still has its number
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("age", [0.0, 59.0, 3600.0, -60.0, -1e8], ids=str)
@pytest.mark.usefixtures("quick")
def test_an_owner_on_another_machine_lives_while_its_claim_changes(
    tmp_path: Path, age: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clocks an hour apart or in the future: only the change counts."""
    path = write_claim(tmp_path, ELSEWHERE, age)
    with touched(path):
        with pytest.raises(Busy, match="elsewhere, process 1"), claimed(tmp_path):
            pass
        assert owner(tmp_path) == "elsewhere, process 1"
    assert (
        "has a claim (elsewhere, process 1): waiting up to 0 s for a sign of life." in capsys.readouterr().out
    )


@pytest.mark.parametrize("age", [0.0, 3600.0, -60.0, -1e8], ids=str)
@pytest.mark.usefixtures("quick")
def test_a_claim_of_another_machine_that_rests_is_taken_over(tmp_path: Path, age: float) -> None:
    write_claim(tmp_path, ELSEWHERE, age)
    assert owner(tmp_path) == "elsewhere, process 1"  # nobody has watched it yet
    began = time.monotonic()
    with claimed(tmp_path):
        assert owner(tmp_path) == f"{socket.gethostname()}, process {os.getpid()}"
    assert 0.3 < time.monotonic() - began < 5
    write_claim(tmp_path, ELSEWHERE, age)
    while owner(tmp_path) is not None and time.monotonic() - began < 10:
        time.sleep(0.01)
    began = time.monotonic()
    with claimed(tmp_path):  # this process has watched it already
        assert time.monotonic() - began < 0.2


@pytest.mark.usefixtures("quick")
def test_an_owner_that_gives_back_while_it_is_watched(tmp_path: Path) -> None:
    path = write_claim(tmp_path, ELSEWHERE)
    threading.Timer(0.1, path.unlink).start()
    began = time.monotonic()
    with claimed(tmp_path):
        assert time.monotonic() - began < 0.35


@pytest.mark.usefixtures("quick")
def test_an_owner_that_was_robbed_finds_out_and_leaves_the_claim(tmp_path: Path) -> None:
    with claimed(tmp_path) as mine:
        mine.require()
        write_claim(tmp_path, ELSEWHERE)  # it had slept
        time.sleep(0.2)
        with pytest.raises(Busy, match=r"was taken over by another process \(elsewhere, process 1\)"):
            mine.require()
    assert json.loads((tmp_path / CLAIM_FILE).read_text())["token"] == "theirs"


def test_an_owner_that_slept_looks_before_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat has not come yet, the clock says that it is late."""
    with claimed(tmp_path) as mine:
        write_claim(tmp_path, ELSEWHERE)
        mine.require()  # within its time it does not look
        now = claim._now()
        monkeypatch.setattr(claim, "_now", lambda: now + 61)
        with pytest.raises(Busy, match="taken over"):
            mine.require()


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"host": "x"}', '{"host": 1, "pid": "x"}', "\x00" * 64]
)
@pytest.mark.usefixtures("quick")
def test_an_owner_puts_back_a_claim_that_is_gone_or_broken(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / CLAIM_FILE
    with claimed(tmp_path) as mine:
        path.unlink() if text is None else path.write_text(text)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (not path.exists() or '"token"' not in path.read_text()):
            time.sleep(0.01)
        mine.require()
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}', '{"host": 1, "pid": "x"}', "\x00" * 64])
@pytest.mark.usefixtures("quick")
def test_a_broken_claim_is_watched_like_any(tmp_path: Path, text: str) -> None:
    """Its owner may live on another machine, and puts it right; if nobody does it is taken."""
    (tmp_path / CLAIM_FILE).write_text(text)
    assert owner(tmp_path) == "unknown, its claim is broken"
    began = time.monotonic()
    with claimed(tmp_path):
        assert owner(tmp_path) == f"{socket.gethostname()}, process {os.getpid()}"
    assert 0.3 < time.monotonic() - began < 5


@pytest.mark.usefixtures("quick")
def test_without_locks_the_claim_alone_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none: the claim of this machine is judged like any other."""

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claim.FileLock, "acquire", refuse)
    path = write_claim(tmp_path, dead_here())
    with touched(path), pytest.raises(Busy), claimed(tmp_path):
        pass
    with claimed(tmp_path) as mine:
        with pytest.raises(Busy), claimed(tmp_path):
            pass
        mine.require()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_two_name_spaces_of_one_host_name(tmp_path: Path) -> None:
    """Two containers: each is process 1 of its own name space, and their host names are one."""
    code = (
        "import os, sys; from pathlib import Path; from petbench.training.claim import claimed, Busy\n"
        "try:\n"
        "    with claimed(Path(sys.argv[1])): print('mine', os.getpid(), flush=True); sys.stdin.readline()\n"
        "except Busy as error: print(error, flush=True)"
    )
    command = ["unshare", "-rpf", "--mount-proc", sys.executable, "-c", code, str(tmp_path)]
    if subprocess.run([*command[:3], "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no name spaces")
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "mine 1\n"
    second = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert second.stdout.strip().endswith(
        f"is being trained by another process ({socket.gethostname()}, process 1)."
    )
    assert owner_here(tmp_path) is None  # number 1 is somebody else here
    with pytest.raises(Busy), claimed(tmp_path):
        pass
    first.communicate("\n", timeout=30)
    second = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert second.stdout == "mine 1\n"


def test_a_claim_is_not_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    folder = tmp_path / "abc"
    folder.mkdir()
    (folder / CLAIM_FILE).symlink_to(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "DEAD_AFTER_SECONDS", 0.2)
        with claimed(folder):
            assert not (folder / CLAIM_FILE).is_symlink()
    assert target.read_text() == "kept"


def test_the_owner_touches_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.02)
    with claimed(tmp_path):
        path = tmp_path / CLAIM_FILE
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 10


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    """Twelve processes over a dead claim, all let go at one moment: one holds it, eleven are told."""
    write_claim(tmp_path / "abc", dead_here())
    code = (
        "import sys, time; from pathlib import Path; from petbench.training.claim import claimed, Busy\n"
        "folder, go = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "while not go.exists(): time.sleep(0.001)\n"
        "try:\n"
        "    with claimed(folder):\n        print('mine', flush=True); sys.stdin.readline()\n"
        "except Busy: print('busy', flush=True)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "abc"), str(tmp_path / "go")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(12)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    answers = [child.stdout.readline().strip() for child in children if child.stdout]
    for child in children:
        child.communicate("\n", timeout=30)
    assert sorted(answers) == ["busy"] * 11 + ["mine"]


def test_threads_of_one_process_do_not_share_a_claim(tmp_path: Path) -> None:
    found: list[str] = []

    def second() -> None:
        try:
            with claimed(tmp_path):
                found.append("mine")
        except Busy:
            found.append("busy")

    with claimed(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert found == ["busy"]


def test_a_folder_that_cannot_be_is_a_mistake_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), claimed(tmp_path / "file" / "abc"):
        pass
