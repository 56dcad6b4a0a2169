"""Files are hashed once, and never taken for what they were."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petbench.models import file_digests
from petbench.models.file_digests import remembered_sha256

HOUR_AGO = time.time() - 3600


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really read, in order."""
    names: list[str] = []
    plain = file_digests.file_sha256

    def counting(path: Path) -> str:
        names.append(path.name)
        return plain(path)

    monkeypatch.setattr(file_digests, "file_sha256", counting)
    monkeypatch.setattr(file_digests, "_KNOWN", {})
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "SETTLED_NS", 0)  # the tests' files are younger than two seconds
    return names


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once_by_all_processes(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"one")
    assert [remembered_sha256(file) for _ in range(3)] == [digest(b"one")] * 3
    monkeypatch.setattr(file_digests, "_KNOWN", {})  # another process
    assert remembered_sha256(file) == digest(b"one")
    assert hashed == ["w"]


def in_place(file: Path) -> None:
    file.write_bytes(b"two")


def same_times(file: Path) -> None:
    state = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def renamed_over(file: Path) -> None:
    state = file.stat()
    other = file.with_suffix(".new")
    other.write_bytes(b"two")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(file)


def behind_a_link(file: Path) -> None:
    target = file.with_suffix(".target")
    target.write_bytes(b"two")
    file.unlink()
    file.symlink_to(target)


@pytest.mark.parametrize("replace", [in_place, same_times, renamed_over, behind_a_link])
@pytest.mark.parametrize("process", ["the same process", "another process"])
def test_a_replaced_file_of_equal_size_is_read_again(
    replace: object, process: str, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"one")
    assert remembered_sha256(file) == digest(b"one")
    time.sleep(0.02)  # a tick of the file system's clock
    replace(file)  # type: ignore[operator]
    if process == "another process":
        monkeypatch.setattr(file_digests, "_KNOWN", {})
    assert remembered_sha256(file) == digest(b"two")


def test_a_file_that_may_still_change_is_not_remembered(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_digests, "SETTLED_NS", 2_000_000_000)
    file = tmp_path / "w"
    file.write_bytes(b"one")
    assert remembered_sha256(file) == remembered_sha256(file) == digest(b"one")
    assert hashed == ["w", "w"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"file": 3, "sha256": "x"}', '{"sha256": "0"}'])
def test_a_broken_note_is_no_trouble(
    note: str, tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"one")
    remembered_sha256(file)
    (memory,) = (tmp_path / "cache" / "digests").iterdir()
    memory.write_text(note)
    monkeypatch.setattr(file_digests, "_KNOWN", {})
    assert remembered_sha256(file) == digest(b"one")
    assert hashed == ["w", "w"]


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "file"))  # no folder can be made there
    (tmp_path / "w").write_bytes(b"one")
    assert remembered_sha256(tmp_path / "w") == digest(b"one")


def test_many_processes_share_one_memory(tmp_path: Path) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"one" * 100_000)
    code = (
        "import sys, pathlib\nfrom petbench.models import file_digests as d\nd.SETTLED_NS = 0\n"
        "for _ in range(200):\n    d._KNOWN.clear()\n    print(d.remembered_sha256(pathlib.Path(sys.argv[1])))"
    )
    environment = os.environ | {"PETBENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(file)]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert [set(lines) for lines in said] == [{digest(b"one" * 100_000)}] * 4
    assert [len(lines) for lines in said] == [200] * 4
    assert [path.suffix for path in (tmp_path / "cache" / "digests").iterdir()] == [".json"]
