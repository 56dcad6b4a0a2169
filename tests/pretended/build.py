"""Compile the pretended CUDA device once, and run a module of this folder with it in a process of its own.

A process of its own because the device must be there before torch is (`device.cpp` says why), and because what it
changes in `torch.cuda` would stay. Needs a C++ compiler and nothing else: no CUDA, no Python headers, no ninja.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
SOURCE = HERE / "device.cpp"
CACHE = HERE.parents[1] / ".pytest_cache" / "pretended"


def compiler() -> str | None:
    """The C++ compiler: $CXX, or one of the usual names."""
    return next(
        (
            found
            for name in (os.environ.get("CXX", ""), "g++", "clang++", "c++")
            if (found := shutil.which(name))
        ),
        None,
    )


def missing() -> str:
    """Why there is no pretended device here; empty where there is one."""
    if sys.platform != "linux":
        return "the pretended device is built on Linux alone"
    return "" if compiler() else "no C++ compiler is at hand for the pretended device"


def build(folder: Path) -> Path:
    """The device as a shared library in `folder`; compiled anew when its source, torch or the compiler changed."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    torch, command = Path(spec.origin).parent, compiler()
    assert command is not None, missing()
    made_of = SOURCE.read_bytes() + f"{version('torch')} {command}".encode()
    library = folder / f"device-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not library.exists():
            words = [
                command,
                "-O0",
                "-w",
                "-std=c++20",
                "-fPIC",
                "-shared",
                str(SOURCE),
                "-o",
                f"{library}.part",
            ]
            words += [f"-I{torch / 'include'}", f"-L{torch / 'lib'}", "-ltorch_cpu", "-lc10"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            Path(f"{library}.part").rename(library)
    return library


def run(module: str, *words: str, library: Path, cwd: Path, timeout: float = 1800) -> str:
    """What `python -m pretended.MODULE WORDS` writes to standard output, on the pretended device."""
    path = os.pathsep.join([str(HERE.parent), str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": str(Path(spec.origin).parent / "lib"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
        "PETBENCH_CACHE": str(cwd / "cache"),
    }
    command = [sys.executable, "-m", f"pretended.{module}", *words]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout


if __name__ == "__main__":  # python tests/pretended/build.py MODULE WORDS…
    with tempfile.TemporaryDirectory() as place:
        print(run(sys.argv[1], *sys.argv[2:], library=build(CACHE), cwd=Path(place)), end="")
