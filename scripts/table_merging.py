"""Prints what merging changes, by method: the largest change of a logit and the labels that flip, from kept records.

python scripts/table_merging.py results/examples

A row is a method that merges; rows scored is the sum over its runs. "At most" is the upper end of the 95 % interval of
the share that flips, were answers independent. Latency is the ratio of medians over the runs, batch 1.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

from petbench.record import Record, read_records
from petbench.report.statistics.intervals import share_interval


def row(method: str, records: list[Record]) -> str:
    """A line of the table."""
    merges = [record.merge for record in records if record.merge]
    largest = max(merge.max_abs_logit_change or 0.0 for merge in merges)
    flipped = sum(merge.labels_flipped or 0 for merge in merges)
    scored = sum(record.headline.n for record in records if record.headline)
    before, after = (
        median(getattr(record.cost, name) for record in records)
        for name in ("latency_unmerged_ms", "latency_merged_ms")
    )
    most = f"{100 * share_interval(flipped, scored)[1]:.3f} %"
    changed = f"{largest:.1e} | {flipped} of {scored:,} | {most}"
    return f"| {method} | {len(records)} | {changed} | {after / before:.2f} |"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results_dir", type=Path)
    found: dict[str, list[Record]] = defaultdict(list)
    for record in read_records(parser.parse_args().results_dir):
        if record.status == "done" and not record.is_trial and record.merge and record.merge.mergeable:
            found[record.adapter].append(record)
    print("| method | runs | largest change of a logit | labels flipped | at most | latency merged ÷ not |")
    print("|---|---:|---:|---:|---:|---:|")
    print("\n".join(row(method, found[method]) for method in sorted(found)))
    print(row(f"all {len(found)}", [record for records in found.values() for record in records]))


if __name__ == "__main__":
    main()
