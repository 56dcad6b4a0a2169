"""Makes the tables and plots of docs/speed.md from results/bench/*.json, between the markers that are there.

python scripts/bench_tables.py           write them
python scripts/bench_tables.py --check   change nothing; exit 1 where a number of the page or a plot is not the files'
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bench_axes import AXES, METHODS, Axis, Made, bare, digest, lines_of, plot, read, slope, words
from petbench.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "transformers", "peft", "adapters", "petbench")
BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    asked = parser.parse_args()
    page, files = asked.root / "docs" / "speed.md", asked.root / "results" / "bench"
    text = page.read_text(encoding="utf-8")
    made = BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]](files)}\n{found[3]}", text)
    stale = [f"{page}: the tables are not those of {files}"] if made != text else []
    for axis in AXES:
        lines, picture = lines_of(axis, files), asked.root / "docs" / "img" / f"bench_{axis.name}.svg"
        if lines and not (picture.exists() and digest(lines) in picture.read_text(encoding="utf-8")):
            stale.append(f"{picture}: not made from {files}")
            if not asked.check:
                plot(axis, lines, picture)
    if not asked.check:
        write_text(page, made)
    elif stale:
        raise SystemExit("\n".join([*stale, "Make them anew: python scripts/bench_tables.py"]))
    print("the tables hold" if asked.check else f"{page}: written")


def how(made: Made) -> str:
    """Where the numbers of a file are from, as a paragraph."""
    machine, packages, state = made["machine"], made["packages"], made["petbench"]
    versions = [f"{name} {packages[name]}" for name in PACKAGES if name in packages]
    if state:
        versions.append(f"commit {state['commit'][:7]}{' with changes' if state['dirty'] else ''}")
    cores = (
        f"{machine['threads']} of {machine['cores']} cores"
        if machine["device"] == machine["processor"]
        else ""
    )
    where = ", ".join(filter(None, [cores, f"load {machine['load']}" if "load" in machine else ""]))
    return (
        f"`{made['command'].removesuffix(' --json')}`\n\n"
        f"{made['model']} on {machine['device']} ({where}), {', '.join(versions)}, {made['date'][:10]}. "
        f"Clock: {made['clock']}."
    )


def methods(files: Path) -> str:
    """Every method on MiniLM."""
    return _methods(files / "methods.json")


def t5_base(files: Path) -> str:
    """Methods beside PEFT's on the shape of T5-base."""
    return _methods(files / "t5_base.json")


def adapterhub(files: Path) -> str:
    """AdapterHub's methods, measured in an environment of their own."""
    return _methods(files / "adapterhub.json")


def _methods(path: Path) -> str:
    if not path.exists():
        return "Not measured."
    made = json.loads(path.read_text(encoding="utf-8"))
    rows, shape = {row["name"]: row for row in made["rows"]}, made["shape"]
    first, last = made["rows"][0], made["rows"][-1]
    columns: list[tuple[str, str, Callable[[str], str]]] = [
        ("trained", "trainable", lambda name: f"{rows[name]['trainable']:,}"),
        ("step", "step_ratio", lambda name: f"{rows[name]['step_ratio']:.2f}"),
        ("latency", "latency_ratio", lambda name: f"{rows[name]['latency_ratio']:.2f}"),
        ("latency, merged", "latency_ratio",
         lambda name: f"{rows[f'{name} merged']['latency_ratio']:.2f}" if f"{name} merged" in rows else ""),
        ("kept for backward, MB over the backbone", "saved_bytes",
         lambda name: f"{rows[name]['saved_bytes_over_backbone'] / 1e6:+.1f}"),
        ("operations of a step, 10⁹", "operations", lambda name: f"{rows[name]['operations'] / 1e9:.1f}"),
    ]  # fmt: skip
    columns = [column for column in columns if column[1] in first]
    names = [row["name"] for row in made["rows"][:-1] if not row["name"].endswith(" merged")]
    table = [[name, *(cell(name) for _, _, cell in columns)] for name in names]
    apart = [
        f"{abs(first[key] - last[key]):.3f} ({what})"
        for what, key in (("step", "step_ratio"), ("latency", "latency_ratio"))
        if key in first
    ]
    noise = (
        f"Batch {shape['batch']}, length {shape['length']}, median of {shape['rounds']}; a bare step takes "
        f"{bare(made):.0f} ms. The two bare backbones, first and last in each round, differ by {' and '.join(apart)}, "
        "which a difference must exceed."
    )
    return f"{how(made)} {noise}\n\n{_grid(['method', *(head for head, _, _ in columns)], table)}"


def lanes(files: Path) -> str:
    """Runs in a row beside lanes."""
    paths = sorted(files.glob("lanes_*.json"))
    if not paths:
        return "Not measured."
    calls = "\n\n".join(how(made) for made in read(files, "lanes_*.json"))
    return f"{lanes_table(paths)}\n\n{calls}"


def lanes_table(paths: Sequence[Path]) -> str:
    """One line for each case and number of lanes."""
    head = ["method", "batch", "tokens", "lanes", "a step of each run, ms", "a pass of all, ms", "ratio", "padding",
            "peak of one run, MB", "peak of lanes and twins, MB"]  # fmt: skip
    table = []
    for made in (json.loads(path.read_text(encoding="utf-8")) for path in paths):
        for row in made["rows"]:
            peaks = [f"{row[f'{which}_peak_bytes'] / 1e6:.0f}" for which in ("single", "lanes")]
            table.append([row["name"], str(made["shape"]["batch"]), str(made["shape"]["length"]), str(row["lanes"]),
                          f"{row['row_ms']:.0f}", f"{row['lanes_ms']:.0f}", f"{row['ratio']:.2f}",
                          f"{row['padding']:.1%}", *peaks])  # fmt: skip
    return _grid(head, table)


def growth(files: Path) -> str:
    """Every axis: a plot, a table of ratios, and the slope in words."""
    return "\n\n".join(_along(axis, files) for axis in AXES if lines_of(axis, files)) or "Not measured."


def _along(axis: Axis, files: Path) -> str:
    lines = lines_of(axis, files)
    labels = dict.fromkeys(
        p.label for p in sorted((p for line in lines.values() for p in line), key=lambda p: p.x)
    )
    table = []
    for name in (name for name in METHODS if name in lines):
        ratios = {p.label: f"{p.y:.3f}" for p in lines[name]}
        table.append([name, *(ratios.get(label, "") for label in labels), f"{slope(lines[name]):+.3f}"])
    made = read(files, axis.names)[0]
    shape = f"batch {made['shape']['batch']}" + (
        "" if axis.name == "length" else f", length {made['shape']['length']}"
    )
    where = shape if axis.name == "model" else f"{made['model']}, {shape}"
    return (
        f"**{axis.title}** ({where}; {axis.ratio})\n\n![{axis.title}](img/bench_{axis.name}.svg)\n\n"
        f"{_grid(['method', *labels, 'by doubling'], table)}\n\n{words(axis, lines, files)}"
    )


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


BLOCKS: dict[str, Callable[[Path], str]] = {
    "methods": methods,
    "t5_base": t5_base,
    "adapterhub": adapterhub,
    "lanes": lanes,
    "growth": growth,
}

if __name__ == "__main__":
    main()
