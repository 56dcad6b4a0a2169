"""The facts on a choice of `adapter=`: docstring, settings, presets, published numbers, place in a layer, counts.

`petbench info` prints them, and the documentation site has a page of them for each method.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from petbench.config.spec import RunSpec
from petbench.config.tree import option_path, options
from petbench.models.sites import Layout
from petbench.record import Params
from petbench.report.published.numbers import Published, lookup, recipes, target

METHODS = Path(__file__).resolve().parents[1] / "adapters" / "methods"
PEFT = "peft"  # the `method` in the YAML of every PEFT method


@dataclass(frozen=True)
class Printed:
    """One line of a published table: the numbers of a method on a model, and the recipe that reproduces them."""

    recipe: str
    paper: str
    table: str
    model: str
    method: str  # as printed
    numbers: tuple[Published, ...]


@dataclass(frozen=True)
class Placed:
    """A method on a backbone without weights. places: the roles that the backbone has. roles: those that have an
    adapter. trained: which parameters of the backbone train, some of `norm`, `bias`, `all`."""

    places: frozenset[str]
    roles: frozenset[str]
    trained: frozenset[str]
    sites: int
    params: Params
    mergeable: bool


def yaml_of(name: str) -> str:
    """The text of a choice's YAML. Raises UserError for an unknown choice."""
    return option_path("adapter", name).read_text(encoding="utf-8")


def method_of(name: str) -> str:
    """The method that a choice sets; several choices may be presets of one method."""
    found = re.search(r"^method: *(\S+)", yaml_of(name), flags=re.MULTILINE)
    return found[1] if found else ""


@cache
def source_of(method: str) -> Path | None:
    """The file that defines one of petbench's own methods; None for another method."""
    named = re.compile(rf'^    name(: [^=]+)? = "{re.escape(method)}"', flags=re.MULTILINE)
    return next(
        (p for p in sorted(METHODS.glob("*.py")) if named.search(p.read_text(encoding="utf-8"))), None
    )


def docstring_of(method: str) -> str:
    """The docstring of the file that defines a method, without its first line; read without importing the file.

    Empty for a method that is not petbench's own.
    """
    path = source_of(method)
    if path is None:
        return ""
    whole = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return whole.partition("\n")[2].strip("\n")


def settings_of(name: str) -> list[str]:
    """The lines of a YAML that a user can set, with their comments: all but the method and the citation."""
    text = re.sub(r"^citation:.*\n(?:[ \n].*\n?)*", "", yaml_of(name), flags=re.MULTILINE)
    lines = text.splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("#", "method:"))]


def presets_of(name: str) -> list[str]:
    """Other choices of `adapter=` that are the same method with other settings."""
    method = method_of(name)
    if method == PEFT:
        return []
    return [other for other in options("adapter") if other != name and method_of(other) == method]


def published_of(name: str) -> Iterator[Printed]:
    """The numbers that papers print for a choice, from each recipe that has them."""
    for recipe in recipes():
        aim = target(recipe)
        for printed in aim.methods.get(name, ()) if aim.table else ():
            for model in aim.models:
                numbers = lookup(paper=aim.paper, table=aim.table, model=model, method=printed)
                if numbers:
                    yield Printed(recipe, aim.paper, aim.table, model, printed, tuple(numbers))


def recipes_with(name: str) -> list[str]:
    """The recipes whose tables have a row for a choice."""
    return [recipe for recipe in recipes() if name in target(recipe).methods]


def placed(spec: RunSpec) -> Placed:
    """The method of a run on its backbone. Raises UserError when it is impossible there."""
    from petbench.adapters.registry import method_named
    from petbench.models.load import resolve_form, skeleton
    from petbench.training.plan import plan
    from petbench.tuned.attach import attach

    planned = plan(spec)
    task = spec.task
    bare, layout = skeleton(spec.model, resolve_form(spec.model, task.form), task.num_labels, task.regression)
    tuned = attach(bare, method_named(spec.adapter.method), spec.adapter, layout)
    found: Iterable[Any] = getattr(tuned.installed, "attachments", ())
    roles = {attachment.site.role for attachment in found} or _roles_by_name(tuned.adapter_names, layout)
    trained = trained_parts(tuned.norm_names, tuned.other_names)
    places = frozenset(site.role for site in layout.all_sites)
    return Placed(
        places, frozenset(roles), frozenset(trained), planned.sites, planned.params, planned.mergeable
    )


def _roles_by_name(names: Iterable[str], layout: Layout) -> set[str]:
    """The roles of the innermost sites that contain these parameters: PEFT wraps the modules of the sites in place."""
    roles = set()
    for name in names:
        inside = [site for site in layout.all_sites if f".{site.module}." in f".{name}"]
        innermost = max((len(site.module) for site in inside), default=0)
        roles |= {site.role for site in inside if len(site.module) == innermost}
    return roles


def trained_parts(norms: Iterable[str], others: Iterable[str]) -> set[str]:
    """Which parameters of the backbone are trained: `norm`, `bias` (outside the norms), `all` for more than these."""
    found = {"bias" if name.endswith("bias") else "all" for name in others}
    return found | ({"norm"} if list(norms) else set())


def trains_at(role: str, trained: Collection[str]) -> bool:
    """Whether the backbone's own parameters with this role are trained, or at least their bias."""
    norm = role.endswith("norm")
    bias = "bias" in trained and not norm and role not in ("attention_context", "embedding")
    return role == "head" or "all" in trained or (norm and "norm" in trained) or bias


def exported(spec: RunSpec) -> str:
    """The PEFT type that equals the method, tried on the run's backbone. Raises UserError when there is none."""
    from petbench.adapters.peft_form import Ranks
    from petbench.tuned.load import load_and_attach

    _, tuned = load_and_attach(spec, spec.task)
    return str(tuned.method.peft_form(tuned.spec, tuned.layout, tuned.installed, Ranks(256)).peft_type)
