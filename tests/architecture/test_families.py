"""No family's name outside `models/` and `conf/`: code asks for facts of a family, not which one it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from petbench.models.family_table import FAMILIES

PACKAGE = Path(__file__).resolve().parents[2] / "src/petbench"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "models" not in path.relative_to(PACKAGE).parts]
# A wording of the rows is called `t5`; `task.wording=t5` says nothing of the model.
WORDINGS = {("config/sections.py", "t5"), ("tasks/wording.py", "t5")}
CLASSES = (
    "Albert",
    "Bart",
    "Bert",
    "Deberta",
    "DistilBert",
    "Electra",
    "GPT2",
    "Llama",
    "ModernBert",
    "MPNet",
    "Qwen",
)
CLASSES += ("Roberta", "T5", "XLMRoberta")


def _named(tree: ast.AST) -> Iterator[str]:
    """Strings that are a family's name, and names of transformers' classes of one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in FAMILIES:
            yield str(node.value)
        words = (
            [node.id]
            if isinstance(node, ast.Name)
            else [node.attr]
            if isinstance(node, ast.Attribute)
            else []
        )
        words += [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        yield from (word for word in words if word.startswith(CLASSES))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_familys_name_stands_outside_models(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    found = set(_named(ast.parse(path.read_text(encoding="utf-8"))))
    assert not {word for word in found if (name, word) not in WORDINGS}, (
        "ask for a fact of `Layout` or `Family`"
    )


@pytest.mark.parametrize(
    "line",
    [
        "if layout.family != 'bert': ...",
        "X = ('t5', 'llama')",
        "from transformers import T5Model",
        "f(x, BertModel)",
    ],
)
def test_the_search_finds_one(line: str) -> None:
    assert set(_named(ast.parse(line)))
