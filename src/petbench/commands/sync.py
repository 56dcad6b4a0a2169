"""`petbench sync`: upload W&B runs that were logged offline or could not be sent in time."""

from petbench.commands.arguments import Arguments, path
from petbench.console import say
from petbench.tracking.sync import sync


def sync_main(argv: list[str]) -> int:
    """`petbench sync [RESULTS_DIR]`. Raises UserError without a folder or a key, RunError when an upload failed."""
    parser = Arguments(
        prog="petbench sync",
        description="Upload the W&B runs that were logged offline or could not be sent in time. Uploaded "
        "runs are marked, so a second call sends only what is new.",
    )
    parser.add_argument("results_dir", nargs="?", metavar="RESULTS_DIR", type=path, default="results")
    asked = parser.parse_args(argv)

    say(sync(asked.results_dir))
    return 0
