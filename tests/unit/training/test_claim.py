"""Claims: one owner at a time, dead ones taken over, nothing left behind."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from petbench.errors import UserError
from petbench.training import claim
from petbench.training.claim import CLAIM_FILE, DEAD_AFTER_SECONDS, Busy, claimed, owner


def write_claim(folder: Path, *, host: str, pid: int, started: float | None, age: float = 0.0) -> Path:
    """A claim as another process would have left it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CLAIM_FILE
    path.write_text(json.dumps({"host": host, "pid": pid, "started": started}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


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


def test_a_dead_process_of_this_host_is_taken_over_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    write_claim(tmp_path, host=socket.gethostname(), pid=child.pid, started=time.time())
    assert owner(tmp_path) is None
    with claimed(tmp_path):
        assert owner(tmp_path) == f"{socket.gethostname()}, process {os.getpid()}"


def test_another_process_with_the_old_number_is_not_the_owner(tmp_path: Path) -> None:
    write_claim(tmp_path, host=socket.gethostname(), pid=os.getpid(), started=12345.0)
    assert owner(tmp_path) is None


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


@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (DEAD_AFTER_SECONDS + 5, False)])
def test_an_owner_on_another_host_lives_by_its_heartbeat(tmp_path: Path, age: float, alive: bool) -> None:
    write_claim(tmp_path, host="elsewhere", pid=1, started=1.0, age=age)
    assert (owner(tmp_path) == "elsewhere, process 1") is alive
    if alive:
        with pytest.raises(Busy, match="elsewhere, process 1"), claimed(tmp_path):
            pass
    else:
        with claimed(tmp_path):
            assert owner(tmp_path) == f"{socket.gethostname()}, process {os.getpid()}"


def test_a_claim_that_was_taken_over_is_not_given_back_by_the_old_owner(tmp_path: Path) -> None:
    with claimed(tmp_path):
        write_claim(tmp_path, host="elsewhere", pid=1, started=1.0)  # it had slept for longer than a minute
    assert owner(tmp_path) == "elsewhere, process 1"


def test_the_owner_touches_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.02)
    with claimed(tmp_path):
        path = tmp_path / CLAIM_FILE
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 10


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}'])
def test_a_broken_claim_is_nobodys(tmp_path: Path, text: str) -> None:
    (tmp_path / CLAIM_FILE).write_text(text)
    assert owner(tmp_path) is None
    with claimed(tmp_path):
        assert owner(tmp_path) is not None


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    """Twelve processes over a dead claim, all let go at one moment: one holds it, eleven are told."""
    write_claim(tmp_path / "abc", host=socket.gethostname(), pid=2**22 - 1, started=1.0)
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
