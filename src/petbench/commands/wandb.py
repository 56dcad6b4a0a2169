"""`petbench wandb workspace|report PROJECT`: create a W&B workspace or report that compares methods."""

from petbench.commands.arguments import Arguments
from petbench.config.values import wandb_name
from petbench.console import say
from petbench.errors import UserError
from petbench.tracking.sync import has_key


def wandb_main(argv: list[str]) -> int:
    """Create it and print its address. Raises UserError without the extra or a key, RunError when W&B fails."""
    parser = Arguments(
        prog="petbench wandb",
        description="Create a workspace, or a report that can be shared, of the runs of a W&B project.",
        epilog="example: petbench wandb workspace my-team/my-project",
    )
    parser.add_argument("kind", choices=("workspace", "report"))
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="where the runs were logged")
    asked = parser.parse_args(argv)
    entity, sign, project = asked.project.partition("/")
    try:
        wandb_name(entity), wandb_name(project or "project")
    except ValueError as error:
        raise UserError(f"{asked.project}: {error}") from error
    if not sign:
        raise UserError(f"got '{asked.project}'. Legal: ENTITY/PROJECT, such as my-team/{entity}.")
    from petbench.tracking import workspace

    workspace.require_extra()
    if not has_key():
        raise UserError("no key for W&B. Run: wandb login, or set WANDB_API_KEY.")
    make = workspace.workspace if asked.kind == "workspace" else workspace.report
    say(workspace.save(make(entity, project)))
    return 0
