"""`petbench params`: parameters by part, without weights, data or network."""

import json
from typing import TYPE_CHECKING, Any

from petbench.commands.arguments import Arguments, folder
from petbench.commands.counted import Counted, Memory
from petbench.commands.tables import params_table
from petbench.compose.expand import expand
from petbench.compose.overrides import require_once
from petbench.console import print_table, say
from petbench.errors import UserError
from petbench.report.published.percents import printed_percent

if TYPE_CHECKING:  # it loads torch
    from petbench.config.spec import RunSpec
    from petbench.training.plan import Plan


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
    memory = Memory(members[0].values["cache_dir"])
    rows, skipped = [], []
    for member in members:
        row = memory.recall(member.values)
        if row is None:
            from petbench.adapters.registry import method_named
            from petbench.training.plan import plan, spec_from

            spec = spec_from(member.values)
            try:
                row = _row(spec, plan(spec))
            except UserError as error:
                if len(members) == 1:
                    raise
                skipped.append(f"{spec.adapter.label}: not possible on {spec.model.label}: {error}")
                continue
            memory.take(member.values, row, type(method_named(row.method)).__module__)
        printed = printed_percent(row.model, row.method, row.params)
        rows.append(row.model_dump() | ({} if printed is None else {"paper_percent": printed}))
    memory.keep()
    return rows, skipped


def _row(spec: "RunSpec", found: "Plan") -> Counted:
    return Counted(
        model=spec.model.label,
        adapter=spec.adapter.label,
        method=spec.adapter.method,
        params=found.params,
        mergeable=found.mergeable,
        bytes=4 * found.params.trainable,
        notes=found.notes,
    )
