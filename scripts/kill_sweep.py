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


def main() -> int:
    """0 when the two sweeps agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kill_sweep_"))
    began = time.monotonic()
    if start(folder / "calm").wait() != 0:
        print(f"the undisturbed sweep failed: {folder / 'calm.log'}")
        return 1
    whole = time.monotonic() - began
    moments = random.Random(given.seed)
    kills = 0
    for _ in range(given.kills):
        sweep = start(folder / "killed")
        moment = moments.uniform(0.2, 0.6) * whole
        try:
            sweep.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            sweep.wait()
            kills += 1
        done = len(list((folder / "killed").glob("runs/*/record.json")))
        print(f"killed after {moment:.1f} s; {done} records", flush=True)
    status = start(folder / "killed").wait()
    calm, killed = outcome(folder / "calm"), outcome(folder / "killed")
    same = calm == killed
    print(f"{kills} kills; last call's exit {status}; {len(killed)} of {len(calm)} records; equal: {same}")
    for run_id in calm.keys() | killed.keys():
        if calm.get(run_id) != killed.get(run_id):
            print(f"  {run_id} differs")
    return 0 if same and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
