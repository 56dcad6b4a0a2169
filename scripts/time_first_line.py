"""Time how long train, sweep and predict are silent: seconds from the start of the process to its first output.

    python scripts/time_first_line.py [--runs 5]

Prints the median for each command, and the processor's seconds, which other work on the machine does not lengthen.
Exits 1 when a median is above half a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

LIMIT_SECONDS = 0.5
COMMANDS = {
    "train": ["train", "adapter=krona", "task=rte", "data=toy", "model=tiny_bert", "trainer.max_steps=2"],
    "sweep": ["train", "-m", "adapter=krona,lora", "seed=0,1", "task=rte", "data=toy", "model=tiny_bert"],
    "predict": ["predict", "0123456789ab", "new.tsv"],
}


def first_output(words: list[str], place: Path) -> tuple[float, float, str]:
    """Seconds until the first bytes on either stream, the processor's until then, and the line that they begin; the
    process is then ended."""
    read, write = os.pipe()
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "petbench", *words],
        cwd=place,
        stdout=write,
        stderr=write,
        stdin=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        first = os.read(read, 4096)
        waited = time.perf_counter() - began
        cpu = psutil.Process(process.pid).cpu_times()
    finally:
        process.kill()
        process.wait()
        os.close(read)
    return (
        waited,
        cpu.user + cpu.system,
        first.decode(errors="replace").splitlines()[0] if first else "(nothing)",
    )


def main() -> int:
    """Print one line a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    late = False
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            found = [first_output(words, Path(folder)) for _ in range(runs)]
            middle, cpu = (
                median(seconds for seconds, _, _ in found),
                median(seconds for _, seconds, _ in found),
            )
            late |= middle > LIMIT_SECONDS
            print(
                f"{name:<8} {middle:.2f} s, processor {cpu:.2f} s (medians of {runs})  {found[0][2]}",
                flush=True,
            )
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
