"""Times lanes against single runs: the cases of docs/speed.md by `petbench bench --lanes`, and prints their table.

python scripts/time_lanes.py                   all cases: a quarter of an hour on one idle core
python scripts/time_lanes.py lanes_8x12        one of them: batch 8, at most 12 tokens a row

Each case is kept as results/bench/NAME.json. A case of your own: `petbench bench --lanes 8 --batch 8 --length 12`.
"""

from bench_growth import asked_for, measured
from bench_tables import lanes_table

MODEL = ("adapter=krona", "model=minilm", "trainer.precision=fp32")
CASES: dict[str, tuple[str, ...]] = {
    "lanes_8x12": (*MODEL, "--lanes", "1,2,4,8,16", "--batch", "8", "--length", "12", "--rounds", "10"),
    "lanes_8x32": (*MODEL, "--lanes", "8,16", "--batch", "8", "--length", "32", "--rounds", "8"),
    "lanes_32x32": (*MODEL, "--lanes", "8,16", "--batch", "32", "--length", "32", "--rounds", "7"),
}


def main() -> None:
    """Command line."""
    chosen = asked_for(__doc__, CASES)
    print(lanes_table([measured(name, CASES[name]) for name in chosen]))


if __name__ == "__main__":
    main()
