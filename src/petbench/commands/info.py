"""`petbench info METHOD`: formula, paper, settings, where it sits, what it counts, merge, export, published numbers."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from petbench.commands.arguments import Arguments
from petbench.commands.list import about
from petbench.config.tree import option_path, options
from petbench.console import busy, idle, say, spinning
from petbench.errors import UserError

METHODS = Path(__file__).resolve().parents[1] / "adapters" / "methods"
SHOWN_TASKS = 10
_AFTER_ATTENTION = ("attention_context", "attention_output", "attention_norm")


def info_main(argv: list[str]) -> int:
    """`petbench info METHOD [--model minilm]`; exit 0. What needs no torch is printed at once. Raises UserError."""
    parser = Arguments(
        prog="petbench info",
        description="What a method is: formula, paper, settings, place, counts, merge, export, published numbers.",
        epilog="example: petbench info krona --model roberta_base",
    )
    parser.add_argument(
        "method", metavar="METHOD", help="as in adapter=METHOD; `petbench list adapters` names them"
    )
    parser.add_argument("--model", default="minilm", help="the backbone to count on (minilm)")
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
        busy("loading torch and transformers to count")
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
    """The docstring of the file that defines a method of petbench's own, read without importing it; else nothing."""
    import ast

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
    for line in text.splitlines():
        if line.strip() and not line.startswith("#") and not line.startswith("method:"):
            yield f"          {line}" if line.startswith(" ") else f"  adapter.{line}"


def _presets(name: str, method: str) -> Iterator[str]:
    """Other choices that are the same method in another setting."""
    for other in options("adapter"):
        path = option_path("adapter", other)
        alike = _value(path.read_text(encoding="utf-8"), "method") == method
        if other != name and alike and method != "peft":
            yield f"another preset of it: adapter={other}  {about('adapter', other)}"


def _published(name: str) -> Iterator[str]:
    """The numbers that papers print of it, for the recipes that hold them."""
    from petbench.report.published.numbers import lookup, recipes, target

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
    """The drawing, the counts and what a trained run is good for, from the method on a backbone without weights."""
    from petbench.adapters.registry import method_named, spec_of
    from petbench.compose.expand import expand
    from petbench.config.spec import parse
    from petbench.models.load import resolve_form, skeleton
    from petbench.tasks.glue import task_named
    from petbench.training.plan import plan
    from petbench.tuned.attach import attach

    spec = parse(expand([f"adapter={name}", f"model={model}", "task=rte"])[0].values, spec_of)
    task = task_named("rte")
    yield ""
    try:
        planned = plan(spec)
        bare, layout = skeleton(
            spec.model, resolve_form(spec.model, spec.task.form), task.num_labels, task.regression
        )
        tuned = attach(bare, method_named(spec.adapter.method), spec.adapter, layout)
    except UserError as error:
        yield f"on {model}: not possible: {error}"
        return
    found: Iterable[Any] = getattr(tuned.installed, "attachments", ())
    roles = {attachment.site.role for attachment in found}
    yield from drawing(roles, trained_parts(tuned.norm_names | tuned.other_names))
    params = planned.params
    beside = f", beside it {params.norm:,} of norms" if params.norm else ""
    beside += f" and {params.other:,} of the backbone" if params.other else ""
    yield (
        f"on {model}: {planned.sites} sites, {params.adapter:,} parameters of its own{beside}; "
        f"tuned {params.tuned_percent:.3f} % of {params.backbone:,}"
    )
    yield "merge: exactly into the backbone's weights" if planned.mergeable else "merge: not possible"
    yield f"export: {_export(name)}"


def _export(name: str) -> str:
    """Whether PEFT can hold it, tried on a tiny backbone."""
    from petbench.adapters.registry import method_named, spec_of
    from petbench.compose.expand import expand
    from petbench.config.spec import parse
    from petbench.export.forms import peft_form
    from petbench.models.load import load, resolve_form
    from petbench.tasks.glue import task_named
    from petbench.tuned.attach import attach

    task = task_named("rte")
    spec = parse(expand([f"adapter={name}", "model=tiny_bert", "task=rte"])[0].values, spec_of)
    try:
        backbone = load(
            spec.model, resolve_form(spec.model, spec.task.form), task.num_labels, task.regression, seed=0
        )
        tuned = attach(
            backbone.model, method_named(spec.adapter.method), spec.adapter, backbone.layout,
            seed=0, new_modules=backbone.new_modules,
        )  # fmt: skip
        return f"petbench export RUN --to peft, as {peft_form(tuned, 256, None).peft_type}"
    except UserError as error:
        return str(error)


def trained_parts(names: Iterable[str]) -> set[str]:
    """Where backbone parameters train as they are: `norm` for the norms, `all` for more than norms and biases."""
    found = set()
    for name in names:
        if re.search(r"norm|ln_|layer_norm", name, flags=re.IGNORECASE):
            found.add("norm")
        elif name.endswith("bias"):
            found.add("bias")
        else:
            found.add("all")
    return found


def drawing(roles: Iterable[str], trained: Iterable[str]) -> Iterator[str]:
    """One layer in a few lines; ● carries an adapter, ○ trains as it is.

    trained: of `norm`, `bias` (every bias) and `all` (the whole body).
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
    yield "  ● an adapter, ○ trains as it is"
