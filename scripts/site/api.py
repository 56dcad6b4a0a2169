"""Pages of the public API, read off the source without importing it: signatures, fields and docstrings."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

from texts import block, prose

SOURCE = Path(__file__).resolve().parents[2] / "src"
# `petbench` hands on to these, so that importing it costs nothing. Name there -> module and name.
FACE = {
    "attach": ("petbench.tuned.own_model", "attach_by_name"),
    "load": ("petbench.tuned.own_model", "load_tuned"),
    "pipeline": ("petbench.inference.pipeline", "pipeline"),
    "Tuned": ("petbench.tuned.attach", "Tuned"),
}
Node = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Found:
    """A definition in a file."""

    node: Node
    text: str

    def lines(self, first: int, last: int) -> str:
        """Lines of the file, both included, from 1, to the left margin."""
        return dedent("\n".join(self.text.splitlines()[first - 1 : last])).rstrip()


def pages() -> dict[str, str]:
    """The three pages."""
    return {
        "reference/petbench.md": _page(
            "petbench", {name: _definition(*place) for name, place in FACE.items()}
        ),
        **{f"reference/{name}.md": _package(f"petbench.{name}") for name in ("adapters", "record")},
    }


def _package(module: str) -> str:
    """What a package exports."""
    names = next(
        ast.literal_eval(node.value)
        for node in _tree(module)[0].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return _page(module, {name: _definition(module, name) for name in names})


def _page(module: str, definitions: dict[str, Found]) -> str:
    head = prose(ast.get_docstring(_tree(module)[0]) or "")
    parts = [f"# {module}", head]
    for name, found in definitions.items():
        parts += [f"## {name}", *_described(found, name)]
    return "\n\n".join(parts)


def _described(found: Found, name: str) -> Iterator[str]:
    """The signature or the fields, the docstring, then the public members."""
    node = found.node
    if isinstance(node, ast.Assign | ast.AnnAssign):
        yield block(found.lines(node.lineno, node.end_lineno or node.lineno), "python")
        return
    yield block(_head(found).replace(f"def {node.name}(", f"def {name}("), "python")
    yield prose(ast.get_docstring(node) or "")
    for member in node.body if isinstance(node, ast.ClassDef) else ():
        documented = isinstance(member, ast.FunctionDef) and ast.get_docstring(member)
        if documented and (not member.name.startswith("_") or member.name == "__call__"):
            yield f"### {prose(f'{name}.{member.name}')}"
            yield from _described(Found(member, found.text), member.name)


def _head(found: Found) -> str:
    """A function down to its colon; a class with its fields and their comments."""
    node = found.node
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    body = [part for part in node.body if not _is_docstring(part)]
    if isinstance(node, ast.FunctionDef):
        return found.lines(first, node.body[0].lineno - 1)
    fields = [part for part in body if isinstance(part, ast.AnnAssign | ast.Assign)]
    shown = [found.lines(first, node.lineno)]
    shown += [
        "    " + found.lines(part.lineno, part.end_lineno or part.lineno).replace("\n", "\n    ")
        for part in fields
    ]
    return "\n".join(shown)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _definition(module: str, name: str) -> Found:
    """Where a name is defined, through imports of petbench's own."""
    tree, text = _tree(module)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Found(node, text)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(ast.unparse, _targets(node)):
            return Found(node, text)
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return _definition(str(node.module), name)
    raise LookupError(f"{module} defines no {name}")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


@cache
def _tree(module: str) -> tuple[ast.Module, str]:
    base = SOURCE.joinpath(*module.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    return ast.parse(text), text
