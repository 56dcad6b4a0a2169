"""`petbench conformance NAME`: run the checks that every method must pass, petbench's own or an outside package's."""

from petbench.commands.arguments import Arguments
from petbench.console import say
from petbench.errors import RunError


def conformance_main(argv: list[str]) -> int:
    """Print one line for each check. Raises RunError (exit 1) if one fails, UserError if NAME is not a method."""
    parser = Arguments(
        prog="petbench conformance",
        description="Check every claim of a method on tiny models; no data, no network.",
    )
    parser.add_argument("name", help="a choice of adapter=, such as krona or peft/lora")
    parser.add_argument(
        "--family",
        help="check on the tiny models of this family only, such as bart (default: bert, t5 and gpt2)",
    )
    parser.add_argument("--failures", action="store_true", help="print only what fails")
    parsed = parser.parse_args(argv)

    from petbench.conformance.suite import CASE_MODELS, models_of, run_conformance

    results = run_conformance(parsed.name, models_of(parsed.family) if parsed.family else CASE_MODELS)
    for result in results:
        if result.status == "failed" or not parsed.failures:
            say(str(result))
    number = {status: sum(r.status == status for r in results) for status in ("passed", "failed", "skipped")}
    summary = ", ".join(f"{count} {status}" for status, count in number.items())
    if number["failed"]:
        raise RunError(f"{parsed.name} does not conform: {summary}.")
    say(f"{parsed.name} conforms: {summary}.")
    return 0
