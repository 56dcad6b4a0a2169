"""Copies the run records of a results folder, without weights and predictions, to keep them in the repository.

python scripts/keep_records.py RESULTS_DIR OUT, such as results results/minilm_sst2
"""

import argparse
import json
import shutil
from pathlib import Path


def keep_records(results: Path, out: Path) -> int:
    """Replace `out/runs` by the records of `results/runs`, on one line each; how many there were."""
    shutil.rmtree(out / "runs", ignore_errors=True)
    found = sorted((results / "runs").glob("*/record.json"))
    for record in found:
        place = out / "runs" / record.parent.name
        place.mkdir(parents=True)
        content = json.loads(record.read_text(encoding="utf-8"))
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))  # as written, less the spaces
        (place / "record.json").write_text(text + "\n", encoding="utf-8")
    return len(found)


def main() -> None:
    """Copy, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    print(f"{keep_records(options.results, options.out)} records in {options.out}")


if __name__ == "__main__":
    main()
