"""A page for each method: its docstring and YAML, a drawing, counts, merge, export, published numbers, citation."""

from collections.abc import Mapping, Sequence

from drawing import draw
from texts import block, prose, table

from petbench.commands.list import about
from petbench.commands.method_facts import (
    Placed,
    docstring_of,
    exported,
    method_of,
    placed,
    presets_of,
    published_of,
    recipes_with,
    settings_of,
    source_of,
)
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec
from petbench.config.tree import options
from petbench.errors import UserError
from petbench.record.units import percent
from petbench.report.citations import citation_of, family_of
from petbench.training.plan import spec_from

COUNTED_ON = ("minilm", "roberta_base", "t5_base")
NOWHERE = (
    "What it learns hangs on no place of the layer: it goes in with the tokens or with their keys and values."
)
TRIED_ON = "tiny_bert"  # the export: it takes a model with weights


def every() -> list[str]:
    """All choices of `adapter=` but the one whose settings are the user's own."""
    return [name for name in options("adapter") if name != "peft/custom"]


def path_of(name: str) -> str:
    """Where a method's page is."""
    return f"methods/{name}.md"


def by_family(names: Sequence[str]) -> dict[str, list[str]]:
    """The methods of each family."""
    found: dict[str, list[str]] = {}
    for name in names:
        family = family_of(name)
        found.setdefault(f"{family[0].upper()}{family[1:]}", []).append(name)
    return dict(sorted(found.items()))


def pages(names: Sequence[str]) -> dict[str, str]:
    """Every method's page, and the one that lists them."""
    specs = _specs(names)
    found = {name: {model: _placed(specs[name][model]) for model in COUNTED_ON} for name in names}
    made = {path_of(name): _page(name, found[name], specs[name][TRIED_ON]) for name in names}
    return {"methods/index.md": _index({name: found[name][COUNTED_ON[0]] for name in names}), **made}


def _specs(names: Sequence[str]) -> dict[str, dict[str, RunSpec]]:
    """By method, then by model: a run of each."""
    argv = [f"adapter={','.join(names)}", f"model={','.join((*COUNTED_ON, TRIED_ON))}", "task=rte"]
    found: dict[str, dict[str, RunSpec]] = {}
    for member in expand(argv):
        name, model, _ = (override.partition("=")[2] for override in member.overrides)
        found.setdefault(name, {})[model] = spec_from(member.values)
    return found


def _index(found: Mapping[str, Placed | str]) -> str:
    parts = [
        "# All methods",
        f"What each trains on {COUNTED_ON[0]} with its preset, beside the task head. `petbench list adapters` lists "
        "them, `petbench info NAME` prints what its page says, and [what they compute](../methods.md) says what was "
        "chosen where a paper is silent.",
    ]
    for family, members in by_family(list(found)).items():
        rows = []
        for name in members:
            here = found[name]
            counts = ["–", "–", "no place there"] if isinstance(here, str) else _short(here)
            link = path_of(name).removeprefix("methods/")
            rows.append([f"[{name}]({link})", prose(about("adapter", name)), *counts])
        heads = ["method", "what it is", "merges", "tuned", "of the backbone"]
        parts += [f"## {family}", table(heads, rows, numbers=2)]
    return "\n\n".join(parts)


def _short(found: Placed) -> list[str]:
    params = found.params
    return ["yes" if found.mergeable else "no", f"{params.tuned:,}", f"{percent(params.tuned_percent)} %"]


def _page(name: str, found: Mapping[str, Placed | str], tried: RunSpec) -> str:
    method = method_of(name)
    source = source_of(method)
    files = [
        f"`conf/adapter/{name}.yaml`",
        *([f"`src/petbench/adapters/methods/{source.name}`"] if source else []),
    ]
    parts = [
        f"# {name}",
        prose(about("adapter", name)),
        block(f"petbench train adapter={name} task=rte", "bash"),
    ]
    if text := docstring_of(method):
        parts += ["## The formula", prose(text)]
    parts += ["## Where it sits, and what it counts", *_counts(found, tried)]
    parts += ["## Settings", block("\n".join(settings_of(name)), "yaml"), f"From {' and '.join(files)}."]
    if others := presets_of(name):
        parts += [
            "## Other presets",
            *(f"- `adapter={other}`: {prose(about('adapter', other))}" for other in others),
        ]
    parts += _published(name)
    entries = citation_of(name)
    cited = block("\n\n".join(entries), "bibtex") if entries else "Unpublished."
    return "\n\n".join([*parts, "## Cite", cited])


def _counts(found: Mapping[str, Placed | str], tried: RunSpec) -> list[str]:
    """The drawing, from the first backbone that has a place for the method; counts on all; merge and export."""
    there = [each for each in found.values() if isinstance(each, Placed)]
    rows = []
    for model, each in found.items():
        if isinstance(each, Placed):
            p = each.params
            own = [f"{each.sites}", *(f"{n:,}" for n in (p.adapter, p.norm, p.other, p.tuned))]
            rows.append([f"`{model}`", *own, f"{percent(p.tuned_percent)} %"])
        else:
            rows.append([f"`{model}`", *["–"] * 5, "no place"])
    heads = ["on", "sites", "its own", "norms", "of the backbone", "tuned", "percent"]
    refusals = [f"On `{model}`: {prose(each)}" for model, each in found.items() if isinstance(each, str)]
    merges = "exactly into the backbone's weights" if there and there[0].mergeable else "not possible"
    return [
        *([draw(there[0])] if there else []),
        *([NOWHERE] if there and there[0].params.adapter and not there[0].roles else []),
        table(heads, rows, numbers=6),
        *refusals,
        f"**Merge**: {merges}.",
        f"**Export**: {_export(tried)}",
    ]


def _export(spec: RunSpec) -> str:
    try:
        return f"`petbench export RUN --to peft`, tried on `{TRIED_ON}`: PEFT's `{exported(spec)}`."
    except UserError as error:
        return prose(str(error))


def _published(name: str) -> list[str]:
    """What papers print of it, a table each, and the command that makes ours."""
    lines = list(published_of(name))
    if not lines:
        return []
    parts = ["## Published numbers"]
    tables = dict.fromkeys((line.paper, line.table, line.model) for line in lines)
    for place in tables:
        mine = [line for line in lines if (line.paper, line.table, line.model) == place]
        columns = dict.fromkeys((n.task, n.metric) for line in mine for n in line.numbers)
        tasks = [task for task, _ in columns]
        heads = [f"{task} ({metric})" if tasks.count(task) > 1 else task for task, metric in columns]
        rows = []
        for line in {line.method: line for line in mine}.values():
            values = {(n.task, n.metric): f"{n.value:g}" for n in line.numbers}
            rows.append([prose(line.method), *(values.get(column, "–") for column in columns)])
        paper, printed, model = place
        parts += [
            f"`{paper}`, {printed}, on `{model}`:",
            table(["as printed", *heads], rows, numbers=len(columns)),
        ]
    commands = [f"petbench reproduce recipe={recipe} --only adapter={name}" for recipe in recipes_with(name)]
    return [*parts, "Ours beside them:", block("\n".join(commands), "bash")]


def _placed(spec: RunSpec) -> Placed | str:
    """The method on the run's backbone, or why it has no place there."""
    try:
        return placed(spec)
    except UserError as error:
        return str(error)
