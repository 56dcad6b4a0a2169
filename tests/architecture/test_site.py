"""The documentation site: it builds strictly, fetches nothing, and its made pages say what the code says."""

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

import petbench.adapters
from petbench.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
# Of each kind one: own with published numbers, beside a block, stages, no adapter, PEFT's, refused on some backbone.
METHODS = ("krona", "krona_b", "hadamard", "bitfit", "head_only", "peft/lora", "peft/prefix")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site with the pages of a few methods. `make docs` builds all of them."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETBENCH_SITE_METHODS", ",".join(METHODS))
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def text_of(page: Path) -> str:
    """What a reader sees of a page, runs of space as one."""
    body = re.search(r"<article.*?</article>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert body is not None
    whole = re.sub(r"</?(?:span|code|a|b|strong|em)\b[^>]*>", "", body[0])
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", whole)).split())


def test_a_reader_needs_no_network(site: Path) -> None:
    """No script, style, font or picture from elsewhere; what a reader follows may lead there."""
    fetched = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    canonical = re.compile(r'rel="canonical"')
    found = {hit for page in pages for hit in fetched.findall(page.read_text(encoding="utf-8"))}
    assert not {hit for hit in found if not canonical.search(hit)}
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert not [style for style in styles if re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style)]


def test_a_methods_page_says_what_info_says(site: Path) -> None:
    page = site / "methods/krona.html"
    said = text_of(page)
    for part in (
        "Y = X W + s · X (A ⊗ B)",
        "factor_shape: auto # shape of A",
        "minilm 12 9,216 9,216 0 18,432 0.081 %",
        "Merge: exactly into the backbone's weights.",
        "petbench reproduce recipe=krona_table1 --only adapter=krona",
        "@article{edalati2022krona",
    ):
        assert part in said, (part, said[:3000])
    html = page.read_text(encoding="utf-8")
    assert 'aria-label="adapters on query, value; trained themselves: norms, the task head"' in html
    assert '<span class="place place-on">query</span>' in html and '<span class="place">key</span>' in html


def test_every_kind_of_method_has_a_page_and_a_place(site: Path) -> None:
    index = text_of(site / "methods/index.html")
    for name in METHODS:
        assert f"adapter={name} task=rte" in text_of(site / f"methods/{name}.html")
        assert f" {name} " in index
    assert "an adapter beside the whole block" in text_of(site / "methods/krona_b.html")
    assert "adapters on query, value" in (site / "methods/peft/lora.html").read_text(encoding="utf-8")
    assert "On t5_base: " in text_of(site / "methods/head_only.html")  # it has no head, and the page says so


def test_the_api_pages_hold_every_public_name(site: Path) -> None:
    said = (site / "reference/adapters.html").read_text(encoding="utf-8")
    assert not [name for name in petbench.adapters.__all__ if f'<h2 id="{name.lower()}">' not in said]
    face = text_of(site / "reference/petbench.html")
    assert (
        "def attach(model: nn.Module, adapter: str, *, seed: int = 0, **fields: Any) -> Tuned:" in face
        and "Tuned.merged" in face
    )
    assert "put a method on any supported Hugging Face model, in place" in face
    commands = text_of(site / "reference/commands.html")
    assert not [name for name in COMMANDS if f"usage: petbench {name}" not in commands and name != "train"]


def test_the_search_finds_marks_and_methods(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"] for entry in index["docs"]}
    assert {"methods/hadamard.html", "glossary.html#in-a-cell-of-scores"} <= places


@pytest.mark.parametrize("link", ["nowhere.md", "README.md#nowhere", "/nowhere.html"])
def test_a_dead_link_ends_the_build(tmp_path: Path, link: str) -> None:
    """In a process of its own: mkdocs counts its warnings by a log handler, which others here may have turned off."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/README.md").write_text(f"# Home\n\n## Here\n\n[there]({link})\n", encoding="utf-8")
    small = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": None,
        "hooks": [],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(small), encoding="utf-8")
    theme = ROOT / "scripts/site/theme"
    (tmp_path / "scripts/site").mkdir(parents=True)
    (tmp_path / "scripts/site/theme").symlink_to(theme)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "nowhere" in done.stderr and "Aborted with" in done.stdout
