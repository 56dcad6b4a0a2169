"""The documents hold: links lead somewhere, commands parse, names of options and methods exist."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from petbench.compose.expand import expand
from petbench.config.tree import conf_dir, options
from petbench.record.units import NOTHING
from petbench.report.labels import KINDS, PROTOCOLS
from petbench.report.layout import Standing
from petbench.report.notes import COLLAPSED, LOST, MIXED
from petbench.report.published.grid import MARKS
from petbench.report.verdicts import Word
from petbench.report.writers.numerals import COST_HEADS
from petbench.report.writers.terminal import TOP
from petbench.sweep.outcome import ENDS
from petbench.sweep.status import State

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUPS = {path.name for path in conf_dir().iterdir() if path.is_dir()}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    dead = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not dead


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "README.md"]
    assert not [name(path) for path in pages if str(path.relative_to(ROOT / "docs")) not in index]


def test_the_glossary_has_every_mark_and_word() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    marks = {TOP, COLLAPSED, LOST, MIXED, NOTHING, "≈", "●", "○"} | set(filter(None, MARKS.values()))
    words = {
        *MARKS,
        *PROTOCOLS,
        *KINDS.values(),
        *get_args(Word),
        *get_args(Standing),
        *get_args(State),
        *ENDS,
    }
    heads = {head.removesuffix(" merged") for head in COST_HEADS}
    assert not sorted(word for word in marks | words | heads if word not in page)


def choices(path: Path) -> list[tuple[str, str]]:
    """Group and value of every choice in the commands of a document, several values apart."""
    found = []
    for command in re.findall(r"(?:^|`)(petbench [^`\n]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            words = shlex.split(command.replace("\\|", " "), comments=True)
        except ValueError:
            continue
        for word in words:
            key, equals, values = word.partition("=")
            if equals and key in GROUPS and not re.search(r"[(<…=]", values):
                found += [(key, value) for value in values.split(",")]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_commands_choose_what_there_is(path: Path) -> None:
    stand_ins = {"X", "Y", "NAME", "example", "gain"}  # a reader's own
    wrong = [
        f"{group}={value}"
        for group, value in choices(path)
        if value not in stand_ins and value not in options(group) and "|" not in value
    ]
    assert not wrong


def test_the_methods_page_names_every_method() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_/]+)`", page))
    natives = [method for method in options("adapter") if not method.startswith("peft/")]
    assert not [method for method in natives if method not in named]


def test_the_protocols_page_names_every_protocol() -> None:
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert not [protocol for protocol in options("protocol") if f"`{protocol}`" not in page]


def test_option_names_in_the_documents_exist() -> None:
    """`trainer.bucket` in a text is a key of the composed config."""
    (member,) = expand(["task=rte", "logger=wandb"])
    sections = ("trainer", "optim", "eval", "data", "task", "protocol", "logger")
    missing = []
    for path in DOCUMENTS:
        for section, key in re.findall(r"`(\w+)\.(\w+)[=`]", path.read_text(encoding="utf-8")):
            if section in sections and key not in member.values[section]:
                missing.append(f"{name(path)}: {section}.{key}")
    assert not missing
