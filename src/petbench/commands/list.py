"""`petbench list`: what there is, one line each, read from the first lines of the YAML files."""

from petbench.commands.arguments import Arguments
from petbench.config.tree import option_path, options
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
    for name in names:
        print(f"{name:<{width}}  {about(GROUPS[kind], name)}")
    return 0
