"""`petbench info METHOD`: formula, paper, settings, place, parameters, merging, export, published numbers."""

from collections.abc import Iterator

from petbench.commands.arguments import Arguments
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
    trains_at,
)
from petbench.config.spec import RunSpec
from petbench.config.tree import option_path
from petbench.console import busy, idle, say, spinning
from petbench.errors import UserError
from petbench.record.units import percent

SHOWN_TASKS = 10
_AFTER_ATTENTION = ("attention_context", "attention_output", "attention_norm")


def info_main(argv: list[str]) -> int:
    """`petbench info METHOD [--model minilm]`; exit 0. Prints what needs no torch at once. Raises UserError."""
    parser = Arguments(
        prog="petbench info",
        description="Describe a method: formula, paper, settings, place in a layer, parameters, merging, export, "
        "published numbers.",
        epilog="example: petbench info krona --model roberta_base",
    )
    parser.add_argument(
        "method", metavar="METHOD", help="as in adapter=METHOD; `petbench list adapters` names them"
    )
    parser.add_argument("--model", default="minilm", help="the backbone for the counts (minilm)")
    asked = parser.parse_args(argv)
    method = method_of(asked.method)
    option_path("model", asked.model)
    say(f"{asked.method}: {about('adapter', asked.method)}")
    if text := docstring_of(method):
        say("")
    for line in (
        *text.splitlines(),
        *_settings(asked.method),
        *_presets(asked.method),
        *_published(asked.method),
    ):
        say(line)
    with spinning():
        busy("loading torch and transformers to count parameters")
        lines = list(_on(asked.method, asked.model))
        idle()
    for line in lines:
        say(line)
    say(f"next: petbench train adapter={asked.method} task=rte")
    return 0


def _settings(name: str) -> Iterator[str]:
    """The YAML's keys with their comments."""
    yield ""
    yield "settings, with their defaults:"
    for line in settings_of(name):
        yield f"          {line}" if line.startswith(" ") else f"  adapter.{line}"


def _presets(name: str) -> Iterator[str]:
    """Other choices of `adapter=` that are the same method with other settings."""
    for other in presets_of(name):
        yield f"another preset of this method: adapter={other}  {about('adapter', other)}"


def _published(name: str) -> Iterator[str]:
    """The numbers that papers print for the method, and the commands that reproduce them."""
    for line in published_of(name):
        shown = ", ".join(f"{n.task} {n.value:g}" for n in line.numbers[:SHOWN_TASKS])
        more = ", …" if len(line.numbers) > SHOWN_TASKS else ""
        yield f"published ({line.paper}, {line.table}, {line.model}, as {line.method}): {shown}{more}"
    for recipe in recipes_with(name):
        yield f"  petbench reproduce recipe={recipe} --only adapter={name}"


def _on(name: str, model: str) -> Iterator[str]:
    """The drawing, the counts, and whether a run can be merged and exported, from a backbone without weights."""
    from petbench.compose.expand import expand
    from petbench.training.plan import spec_from

    def spec(backbone: str) -> RunSpec:
        return spec_from(expand([f"adapter={name}", f"model={backbone}", "task=rte"])[0].values)

    yield ""
    try:
        found = placed(spec(model))
    except UserError as error:
        yield f"on {model}: not possible: {error}"
        return
    yield from drawing(found)
    params = found.params
    beside = f", {params.norm:,} parameters of norms" if params.norm else ""
    beside += f", {params.other:,} other parameters of the backbone" if params.other else ""
    yield (
        f"on {model}: {found.sites} sites; it trains {params.adapter:,} parameters of adapters{beside}: "
        f"{percent(params.tuned_percent)} % of the backbone's {params.backbone:,}"
    )
    yield "merge: exactly into the backbone's weights" if found.mergeable else "merge: not possible"
    try:
        yield f"export: petbench export RUN --to peft, as {exported(spec('tiny_bert'))}"
    except UserError as error:
        yield f"export: {error}"


def drawing(found: Placed) -> Iterator[str]:
    """A drawing of one layer in a few lines; ● has an adapter, ○ is a trained part of the model."""

    def mark(role: str) -> str:
        if role in found.roles:
            return f"{role} ●"
        return f"{role} ○" if trains_at(role, found.trained) else role

    block = " (around the whole block ●)" if "ffn_block" in found.roles else ""
    last = ["final_norm", "head"] if "final_norm" in found.places else ["head"]
    attention = [f"{mark('query')}, {mark('key')}, {mark('value')}", *map(mark, _AFTER_ATTENTION)]
    yield f"  {mark('embedding')}"
    yield f"   ├─ attention: {' → '.join(attention)}"
    yield f"   ├─ ffn{block}: {mark('ffn_input')} → {mark('ffn_output')} → {mark('ffn_norm')}"
    yield f"   └─ … every layer → {' → '.join(map(mark, last))}"
    yield "  ● has an adapter, ○ is trained itself"
