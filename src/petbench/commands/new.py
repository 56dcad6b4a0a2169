"""`petbench new method|task …`: the skeleton of a method or a task that a user adds."""

from importlib import import_module

from petbench.errors import UserError

KINDS = {
    "method": ("petbench.commands.new_method", "new_method_main"),
    "task": ("petbench.commands.new_task", "new_task_main"),
}


def new_main(argv: list[str]) -> int:
    """Call the command of the kind with the other arguments. Raises UserError."""
    if argv[:1] in (["-h"], ["--help"]):
        print("usage: petbench new method NAME --dir DIR | petbench new task NAME --from FILE")
        raise SystemExit(0)  # as argparse does in the other commands
    if not argv or argv[0] not in KINDS:
        raise UserError(
            f"petbench new: got '{' '.join(argv[:1])}'. Legal: method NAME --dir DIR; task NAME --from FILE."
        )
    module, function = KINDS[argv[0]]
    status: int = getattr(import_module(module), function)(argv[1:])
    return status
