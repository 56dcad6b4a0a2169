"""`petbench params`: parameters by part, without weights, data or network."""

import json
from typing import Any

from petbench.commands.arguments import Arguments, folder
from petbench.commands.tables import params_table
from petbench.compose.expand import expand
from petbench.compose.overrides import require_once
from petbench.console import print_table, say
from petbench.errors import UserError
from petbench.report.published.percents import printed_percent


def params_main(argv: list[str]) -> int:
    """`petbench params OVERRIDES… [--json]`: one table of all members; needs no weights, no data, no network."""
    parser = Arguments(
        prog="petbench params",
        description="Count parameters by part. Overrides are those of train; several values multiply out, and so do "
        "the choices that match 'adapter=glob(*)'.",
    )
    parser.add_argument("overrides", nargs="*", help="such as adapter=krona model=t5_base")
    parser.add_argument(
        "--json", action="store_true", help="JSON on standard output: an object, or a list of several"
    )
    parser.add_argument("--config-dir", type=folder, help="a folder with more config groups")
    parsed = parser.parse_args(argv)
    require_once(parsed.overrides)
    members = expand(parsed.overrides, parsed.config_dir)
    rows, skipped = _rows(members)
    if parsed.json:
        shown = [{key: row[key] for key in ("model", "adapter", "params")} for row in rows]
        print(json.dumps(shown if len(members) > 1 else shown[0], indent=2))
        return 0
    models = ", ".join(dict.fromkeys(row["model"] for row in rows))
    print_table(params_table(rows, f"Parameters: {models}"))
    for row in rows:
        for note in row["notes"]:
            say(note)
    for line in skipped:
        say(line)
    return 0


def _rows(members: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """One row for each member. Of several members, one that is impossible on its model gives a line of text instead."""
    from petbench.training.plan import plan, spec_from

    rows, skipped = [], []
    for member in members:
        spec = spec_from(member.values)
        try:
            found = plan(spec)
        except UserError as error:
            if len(members) == 1:
                raise
            skipped.append(f"{spec.adapter.label}: not possible on {spec.model.label}: {error}")
            continue
        params = found.params
        row = {
            "model": spec.model.label,
            "adapter": spec.adapter.label,
            "params": params.model_dump(),
            "mergeable": found.mergeable,
            "bytes": 4 * params.trainable,
            "notes": found.notes,
        }
        if (printed := printed_percent(spec.model.label, spec.adapter.method, params)) is not None:
            row["paper_percent"] = printed
        rows.append(row)
    return rows, skipped
