"""Pages of commands and settings, and the two documents that lie at the top of the repository."""

import io
from contextlib import redirect_stdout, suppress
from pathlib import Path

from texts import block

from petbench.cli import COMMANDS, USAGE, run_command

SETTINGS = (
    "config.yaml",
    "trainer/default.yaml",
    *(f"base/{name}.yaml" for name in ("data", "model", "protocol", "task")),
)


def pages(root: Path) -> dict[str, str]:
    """Four pages."""
    return {
        "reference/commands.md": _commands(),
        "reference/settings.md": _settings(root / "conf"),
        **{f"{name.lower()}.md": _at_the_top(root / f"{name}.md") for name in ("CONTRIBUTING", "CHANGELOG")},
    }


def _commands() -> str:
    """What `petbench --help` and each command's `--help` print."""
    parts = ["# Commands", block(USAGE, "text")]
    for name in COMMANDS:
        said = io.StringIO()
        with redirect_stdout(said), suppress(SystemExit):
            run_command([name, "--help"])
        parts += [f"## petbench {name}", block(said.getvalue(), "text")]
    return "\n\n".join(parts)


def _settings(conf: Path) -> str:
    """The YAMLs in which a run's settings and their defaults stand, with their comments."""
    parts = [
        "# Settings",
        "Every key that `petbench train` takes as `key=value`, with its default. A file below a group gives the keys "
        "of that group: `batch_size` in `trainer/default.yaml` is `trainer.batch_size`. A method's own keys stand on "
        "its [page](../methods/index.md).",
    ]
    for name in SETTINGS:
        parts += [f"## conf/{name}", block((conf / name).read_text(encoding="utf-8"), "yaml")]
    return "\n\n".join(parts)


def _at_the_top(path: Path) -> str:
    """A document of the repository's top folder, its links as seen from docs/."""
    return path.read_text(encoding="utf-8").replace("](docs/", "](")
