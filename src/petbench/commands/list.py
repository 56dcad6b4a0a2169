"""`petbench list KIND`: the choices of a kind in groups, one line each, read from the first lines of their YAMLs."""

import re
from collections.abc import Iterator

from petbench.commands.arguments import Arguments
from petbench.config.task import task_values
from petbench.config.tree import conf_dir, option_path, options
from petbench.console import out, shown
from petbench.errors import unknown
from petbench.models.family_table import FAMILIES

GROUPS = {
    "adapters": "adapter",
    "tasks": "task",
    "models": "model",
    "recipes": "recipe",
    "sweeps": "sweep",
    "data": "data",
    "protocols": "protocol",
}
FIRST_LOOK = "for tests and a first look, with scores that mean nothing: tiny, random weights, no download"
SAID_BY_HEAD = " For tests and a first look; its scores mean nothing."
SMALL_ROWS = 10_000  # a task with fewer train rows is small: a laptop trains on it in minutes


def about(group: str, name: str) -> str:
    """The first line of a YAML, which says what it is. Hydra's own `# @package` line may stand before it."""
    with option_path(group, name).open(encoding="utf-8", errors="replace") as file:
        return next((line.lstrip("# ").strip() for line in file if not line.startswith("# @")), "")


def list_main(argv: list[str]) -> int:
    """`petbench list KIND`."""
    parser = Arguments(prog="petbench list", description="List the choices of a kind.")
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
            out.print(shown(about(GROUPS[kind], name).removesuffix(SAID_BY_HEAD)))
    return 0


def _grouped(kind: str, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Headings and the names below them, in order; a kind without groups has one empty heading."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_head(kind, name), []).append(name)
    order = [head for head in _ORDER if head in groups]
    yield from ((head, groups[head]) for head in (*order, *(h for h in groups if h not in order)))


_ORDER = (
    "petbench's own", "PEFT's own", "from other packages",
    "small: minutes on a CPU with a small model", "large", "no train rows",
    "encoders", "encoder-decoders", "decoders", FIRST_LOOK,
)  # fmt: skip


def _head(kind: str, name: str) -> str:
    path = option_path(GROUPS[kind], name)
    if kind == "adapters":
        if not path.is_relative_to(conf_dir()):
            return "from other packages"
        return "PEFT's own" if name.startswith("peft/") else "petbench's own"
    if kind == "models":
        text = path.read_text(encoding="utf-8")
        if "weights: random" in text:
            return FIRST_LOOK
        found = re.search(r"model_type: *(\S+)", text)
        family = FAMILIES.get(found[1]) if found else None
        stacks = {tower.stack for tower in family.towers} if family else {"encoder"}
        return "encoders" if stacks == {"encoder"} else "decoders" if len(stacks) == 1 else "encoder-decoders"
    if kind == "tasks":
        suite, _, rest = name.partition("/")
        rows = task_values(name).get("rows")
        if rest or rows is None:
            return suite if rest else "rows of your own"
        if "train" not in rows:
            return "no train rows"
        return "small: minutes on a CPU with a small model" if rows["train"] < SMALL_ROWS else "large"
    return ""
