"""The file that names a run's owner: which process of which machine."""

import json
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

CLAIM_FILE = "claim.json"


@dataclass(frozen=True)
class Owner:
    """Who holds a run. A process number is valid only on its machine and in its pid namespace."""

    host: str = "unknown, its claim is broken"
    pid: int = 0
    started: float | None = None
    boot: str = ""
    space: str = ""
    token: str = ""  # unique to this claim, so that no process takes another's for its own

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}" if self.pid else self.host


def this_process() -> Owner:
    """This process as the owner of a new claim."""
    pid = os.getpid()
    return Owner(socket.gethostname(), pid, started(pid), boot(), space(), uuid.uuid4().hex)


def read(path: Path) -> tuple[Owner, object] | None:
    """The owner that a claim names, and the file's state (text, time, inode), by which a change is seen; None when
    there is no claim. The file is opened first: only then does a network file system look for a newer one."""
    try:
        with path.open("rb") as file:
            text, state = file.read(10_000), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    try:
        known = {key: value for key, value in json.loads(text).items() if key in Owner.__dataclass_fields__}
        named = Owner(**known)
        is_whole = (
            isinstance(named.pid, int)
            and named.pid > 0
            and all(isinstance(value, str) for value in (named.host, named.boot, named.space, named.token))
        )
    except (ValueError, TypeError, AttributeError):
        is_whole = False
    return named if is_whole else Owner(), (text, state.st_mtime_ns, state.st_ino)


@cache
def boot() -> str:
    """An id of this machine since its last start, different from every other machine's."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def space() -> str:
    """The pid namespace of this process; empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def started(pid: int) -> float | None:
    """When a process started, so that a new process with an old number is not taken for it; None: it is gone."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
