"""`petbench list`: what there is, one line each in groups, read from the first lines of the YAML files."""

import re
from collections.abc import Iterator

from petbench.commands.arguments import Arguments
from petbench.config.tree import conf_dir, option_path, options
from petbench.console import out, shown
from petbench.errors import unknown

GROUPS = {
    "adapters": "adapter",
    "tasks": "task",
    "models": "model",
    "recipes": "recipe",
    "sweeps": "sweep",
    "data": "data",
    "protocols": "protocol",
}
SMALL_ROWS = 10_000  # train rows of a task that a laptop does


def about(group: str, name: str) -> str:
    """A YAML's first line: what it is. Hydra's own `# @package` line may stand before it."""
    with option_path(group, name).open(encoding="utf-8", errors="replace") as file:
        return next((line.lstrip("# ").strip() for line in file if not line.startswith("# @")), "")


def list_main(argv: list[str]) -> int:
    """`petbench list KIND`."""
    parser = Arguments(prog="petbench list", description="What there is, one line each.")
    parser.add_argument("kind", help=", ".join(GROUPS))
    kind = parser.parse_args(argv).kind
    if kind not in GROUPS:
        raise unknown("list", kind, GROUPS)
    names = options(GROUPS[kind])
    width = max(map(len, names), default=0)
    for head, some in _grouped(kind, names):
        if head:
            out.print(shown(head), style="bold")
        for name in some:
            out.print(f"{'  ' if head else ''}[cyan]{name:<{width}}[/cyan]  ", end="", markup=True)
            out.print(shown(about(GROUPS[kind], name)))
    return 0


def _grouped(kind: str, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Heads and the names below them, in order; one group without a head where there is nothing to tell apart."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_head(kind, name), []).append(name)
    order = [head for head in _ORDER if head in groups]
    yield from ((head, groups[head]) for head in (*order, *(h for h in groups if h not in order)))


_ORDER = (
    "petbench's own", "PEFT's, through its public door", "from other packages",
    "small: minutes on a CPU with a small model", "large", "no train rows",
    "encoders", "encoder-decoders", "decoders", "for tests and a first look: tiny, random weights, no download",
)  # fmt: skip
_DECODERS = ("gpt2", "llama", "qwen2", "qwen3", "smollm")


def _head(kind: str, name: str) -> str:
    path = option_path(GROUPS[kind], name)
    if kind == "adapters":
        if not path.is_relative_to(conf_dir()):
            return "from other packages"
        return "PEFT's, through its public door" if name.startswith("peft/") else "petbench's own"
    if kind == "models":
        text = path.read_text(encoding="utf-8")
        if "weights: random" in text:
            return "for tests and a first look: tiny, random weights, no download"
        found = re.search(r"model_type: *(\S+)", text)
        family = found[1] if found else ""
        return "encoder-decoders" if "t5" in family else "decoders" if family in _DECODERS else "encoders"
    if kind == "tasks":
        rows = re.search(r"([\d,]+) train rows", about("task", name))
        if rows is None:
            return "no train rows"
        small = int(rows[1].replace(",", "")) < SMALL_ROWS
        return "small: minutes on a CPU with a small model" if small else "large"
    return ""
