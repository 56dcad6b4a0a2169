"""Kill a sweep at random moments, start it again each time, and compare its records with an undisturbed one's.

    python scripts/kill_sweep.py [--kills 20] [--seed 0] [--folder DIR]

Every kill is SIGKILL to the sweep's whole process group. At the end every record must be there once and equal, in
everything but seconds and bytes, the record of the same sweep run without a disturbance.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = [
    *("adapter=krona,lora", "seed=0,1", "task=rte", "data=toy", "model=tiny_bert", "trainer.max_steps=150"),
    *("trainer.eval_every=10", "trainer.precision=fp32"),
]


def start(results: Path) -> subprocess.Popen[bytes]:
    """The sweep in a process group of its own."""
    command = [sys.executable, "-m", "petbench.cli", "train", "-m", *SWEEP, f"results_dir={results}"]
    log = (results.parent / f"{results.name}.log").open("ab")
    return subprocess.Popen(
        command, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def outcome(results: Path) -> dict[str, Any]:
    """What must not depend on when a run was stopped, by run id."""
    found = {}
    for path in sorted(results.glob("runs/*/record.json")):
        record = json.loads(path.read_text())
        kept = {key: record[key] for key in ("status", "metrics", "headline", "params", "best", "config")}
        kept["config"].pop("results_dir")
        kept["curve"] = [{k: v for k, v in point.items() if k != "seconds"} for point in record["curve"]]
        kept["adapter"] = (path.parent / "adapter" / "adapter.safetensors").read_bytes().hex()
        found[record["run_id"]] = kept
    return found


def wait_for_a_line(results: Path, sweep: subprocess.Popen[bytes], since: float) -> bool:
    """Until some run logs a step after `since`; False when the sweep ends first."""
    while sweep.poll() is None:
        if any(path.stat().st_mtime > since for path in results.glob("runs/*/metrics.jsonl")):
            return True
        time.sleep(0.05)
    return False


def disturb(results: Path, kills: int, moments: random.Random) -> int:
    """Start and kill the sweep until it ends by itself or `kills` kills are done; returns how many there were."""
    done = 0
    while done < kills:
        since = time.time()
        sweep = start(results)
        if not wait_for_a_line(results, sweep, since):
            return done
        delay = moments.uniform(0.0, 1.5)
        try:
            sweep.wait(timeout=delay)
            return done
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            sweep.wait()
            done += 1
            records = len(list(results.glob("runs/*/record.json")))
            print(f"{results.name}: killed {delay:.1f} s after a step; {records} records", flush=True)
    return done


def main() -> int:
    """0 when every disturbed sweep agrees with the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kill_sweep_"))
    if start(folder / "calm").wait() != 0:
        print(f"the undisturbed sweep failed: {folder / 'calm.log'}")
        return 1
    calm = outcome(folder / "calm")
    moments = random.Random(given.seed)
    kills = rounds = 0
    good = True
    while kills < given.kills:
        rounds += 1
        results = folder / f"killed_{rounds}"
        kills += disturb(results, given.kills - kills, moments)
        status = start(results).wait()
        killed = outcome(results)
        same = calm == killed and status == 0
        good &= same
        print(
            f"{results.name}: exit {status}; {len(killed)} of {len(calm)} records; equal: {same}", flush=True
        )
    print(f"{kills} kills in {rounds} sweeps; all records there once and equal: {good}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
