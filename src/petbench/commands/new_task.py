"""`petbench new task NAME --from FILE`: write the YAML of a task, read off its rows, so that it can be used again."""

from pathlib import Path
from typing import Any

import yaml

from petbench.commands.arguments import Arguments, path
from petbench.config.sections import DataSpec
from petbench.config.tree import options
from petbench.console import say
from petbench.errors import UserError
from petbench.files import write_text
from petbench.tasks.rows.load import load_splits
from petbench.tasks.task import own

LEFT_OUT = (
    "name",
    "columns",
    "headline",
    "hub",
    "glue",
    "version",
    "rows",
    "train",
    "validation",
    "test",
    "asked_as",
)


def new_task_main(argv: list[str]) -> int:
    """Write DIR/task/NAME.yaml and say how it is used. Raises UserError; never overwrites a file."""
    parser = Arguments(
        prog="petbench new task",
        description="Write the YAML of a task: columns, labels and kind are read off the rows, as data.file=FILE does.",
        epilog="example: petbench new task tickets --from tickets.csv --text title,body --label queue",
    )
    parser.add_argument("name", metavar="NAME", help="letters, digits and _")
    parser.add_argument(
        "--from", dest="file", metavar="FILE", type=path, required=True, help="a file or folder"
    )
    parser.add_argument("--text", metavar="COLUMN[,COLUMN]", help="default: guessed and printed")
    parser.add_argument("--label", metavar="COLUMN", help="default: guessed and printed")
    parser.add_argument("--kind", choices=("auto", "classes", "number"), default="auto", help="of the label")
    parser.add_argument(
        "--dir", metavar="DIR", type=path, default="my_conf", help="a config folder (default: my_conf)"
    )
    asked = parser.parse_args(argv)
    target = _target(asked.name, Path(asked.dir))

    file = str(Path(asked.file).absolute())
    texts = tuple(asked.text.split(",")) if asked.text else None
    task = own(asked.name, DataSpec(file=file, text=texts, label=asked.label, kind=asked.kind))
    rows = load_splits(task, DataSpec(file=file))
    what = (
        f"{task.num_labels} classes"
        if task.labels
        else f"a number from {task.bounds[0]:g} to {task.bounds[1]:g}"
    )
    size = len(rows.part("train"))
    head = [
        f"# {task.name}: {what}; {size:,} train rows of {Path(file).name}, headline {task.headline}.",
        f"# petbench train --config-dir {asked.dir} adapter=krona task={task.name}",
        "defaults:",
        "  - /base/task@_here_",
        "  - _self_",
    ]
    values = {"name": task.name, **_said(task.model_dump(mode="json")), "files": file, "wording": "words"}
    write_text(target, "\n".join(head) + "\n" + _yaml(values), instead="--dir")
    say(f"wrote {target}. Use it: petbench train --config-dir {asked.dir} task={task.name}")
    return 0


def _target(name: str, folder: Path) -> Path:
    """The file to write. Raises UserError for a name that is not legal, or is taken."""
    if not name.isidentifier():
        raise UserError(f"petbench new task: got '{name}'. Legal: letters, digits and _, no digit first.")
    if name in options("task"):
        raise UserError(f"petbench new task: there is a task '{name}' already. Give another name.")
    target = folder / "task" / f"{name}.yaml"
    if target.exists():
        raise UserError(f"{target} is there already. Give another name, or delete it.")
    return target


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """The values to write: those that are not empty and do not belong to the file, to GLUE or to the base YAML."""
    return {
        key: value for key, value in values.items() if key not in LEFT_OUT and value not in (None, [], {})
    }


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
