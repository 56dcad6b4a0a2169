"""`petbench info METHOD`: formula, paper, settings, place, parameters, merging, export, published numbers."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from petbench.commands.arguments import Arguments
from petbench.commands.list import about
from petbench.config.tree import option_path, options
from petbench.console import busy, idle, say, spinning
from petbench.errors import UserError
from petbench.record.units import percent
from petbench.report.published.numbers import lookup, recipes, target

METHODS = Path(__file__).resolve().parents[1] / "adapters" / "methods"
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
    text = option_path("adapter", asked.method).read_text(encoding="utf-8")
    option_path("model", asked.model)
    say(f"{asked.method}: {about('adapter', asked.method)}")
    method = _value(text, "method")
    for line in _docstring(method).splitlines():
        say(line)
    for line in (*_settings(text), *_presets(asked.method, method), *_published(asked.method)):
        say(line)
    with spinning():
        busy("loading torch and transformers to count parameters")
        lines = list(_on(asked.method, asked.model))
        idle()
    for line in lines:
        say(line)
    say(f"next: petbench train adapter={asked.method} task=rte")
    return 0


def _value(text: str, key: str) -> str:
    found = re.search(rf"^{key}: *(\S+)", text, flags=re.MULTILINE)
    return found[1] if found else ""


def _docstring(method: str) -> str:
    """The docstring of the file that defines one of petbench's own methods, read without importing it; else empty."""
    for path in sorted(METHODS.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if re.search(rf'^    name(: [^=]+)? = "{re.escape(method)}"', source, flags=re.MULTILINE):
            whole = ast.get_docstring(ast.parse(source)) or ""
            return "\n" + whole.partition("\n")[2].strip("\n")
    return ""


def _settings(text: str) -> Iterator[str]:
    """The YAML's keys with their comments."""
    yield ""
    yield "settings, with their defaults:"
    for line in re.sub(r"^citation:.*\n(?:[ \n].*\n?)*", "", text, flags=re.MULTILINE).splitlines():
        if line.strip() and not line.startswith("#") and not line.startswith("method:"):
            yield f"          {line}" if line.startswith(" ") else f"  adapter.{line}"


def _presets(name: str, method: str) -> Iterator[str]:
    """Other choices of `adapter=` that are the same method with other settings."""
    for other in options("adapter"):
        path = option_path("adapter", other)
        alike = _value(path.read_text(encoding="utf-8"), "method") == method
        if other != name and alike and method != "peft":
            yield f"another preset of this method: adapter={other}  {about('adapter', other)}"


def _published(name: str) -> Iterator[str]:
    """The numbers that papers print for the method, from each recipe that has them."""
    for recipe in recipes():
        aim = target(recipe)
        for printed in aim.methods.get(name, ()) if aim.table else ():
            for model in aim.models:
                numbers = lookup(paper=aim.paper, table=aim.table, model=model, method=printed)
                if numbers:
                    shown = ", ".join(f"{n.task} {n.value:g}" for n in numbers[:SHOWN_TASKS])
                    more = ", …" if len(numbers) > SHOWN_TASKS else ""
                    yield f"published ({aim.paper}, {aim.table}, {model}, as {printed}): {shown}{more}"
        if name in aim.methods:
            yield f"  petbench reproduce recipe={recipe} --only adapter={name}"


def _on(name: str, model: str) -> Iterator[str]:
    """The drawing, the counts, and whether a run can be merged and exported, from a backbone without weights."""
    from petbench.adapters.registry import method_named
    from petbench.compose.expand import expand
    from petbench.models.load import resolve_form, skeleton
    from petbench.training.plan import plan, spec_from
    from petbench.tuned.attach import attach

    spec = spec_from(expand([f"adapter={name}", f"model={model}", "task=rte"])[0].values)
    form, task = resolve_form(spec.model, spec.task.form), spec.task
    yield ""
    try:
        planned = plan(spec)
        bare, layout = skeleton(spec.model, form, task.num_labels, task.regression)
        tuned = attach(bare, method_named(spec.adapter.method), spec.adapter, layout)
    except UserError as error:
        yield f"on {model}: not possible: {error}"
        return
    found: Iterable[Any] = getattr(tuned.installed, "attachments", ())
    roles = {attachment.site.role for attachment in found}
    yield from drawing(roles, trained_parts(tuned.norm_names, tuned.other_names))
    params = planned.params
    beside = f", {params.norm:,} parameters of norms" if params.norm else ""
    beside += f", {params.other:,} other parameters of the backbone" if params.other else ""
    yield (
        f"on {model}: {planned.sites} sites; it trains {params.adapter:,} parameters of adapters{beside}: "
        f"{percent(params.tuned_percent)} % of the backbone's {params.backbone:,}"
    )
    yield "merge: exactly into the backbone's weights" if planned.mergeable else "merge: not possible"
    yield f"export: {_export(name)}"


def _export(name: str) -> str:
    """Whether PEFT has an equal form, tried on a tiny backbone."""
    from petbench.adapters.peft_form import Ranks
    from petbench.compose.expand import expand
    from petbench.training.plan import spec_from
    from petbench.tuned.load import load_and_attach

    spec = spec_from(expand([f"adapter={name}", "model=tiny_bert", "task=rte"])[0].values)
    try:
        _, tuned = load_and_attach(spec, spec.task)
        form = tuned.method.peft_form(tuned.spec, tuned.layout, tuned.installed, Ranks(256))
        return f"petbench export RUN --to peft, as {form.peft_type}"
    except UserError as error:
        return str(error)


def trained_parts(norms: Iterable[str], others: Iterable[str]) -> set[str]:
    """Which parameters of the backbone are trained: `norm`, `bias` (outside the norms), `all` for more than these."""
    found = {"bias" if name.endswith("bias") else "all" for name in others}
    return found | ({"norm"} if list(norms) else set())


def drawing(roles: Iterable[str], trained: Iterable[str]) -> Iterator[str]:
    """A drawing of one layer in a few lines; ● has an adapter, ○ is a trained part of the model.

    trained: some of `norm`, `bias` (every bias) and `all` (the whole backbone).
    """
    roles, trained = set(roles), set(trained)

    def mark(role: str) -> str:
        if role in roles:
            return f"{role} ●"
        whole = "all" in trained or ("norm" in trained and role.endswith("norm"))
        bias = "bias" in trained and not role.endswith("norm") and role != "attention_context"
        return f"{role} ○" if whole or bias or role == "head" else role

    block = " (around the whole block ●)" if "ffn_block" in roles else ""
    attention = [f"{mark('query')}, {mark('key')}, {mark('value')}", *map(mark, _AFTER_ATTENTION)]
    yield f"  {mark('embedding')}"
    yield f"   ├─ attention: {' → '.join(attention)}"
    yield f"   ├─ ffn{block}: {mark('ffn_input')} → {mark('ffn_output')} → {mark('ffn_norm')}"
    yield f"   └─ … every layer → {mark('final_norm')} → {mark('head')}"
    yield "  ● has an adapter, ○ is trained itself"
