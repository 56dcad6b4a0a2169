"""mkdocs's hook: adds the pages that are made at build time, and gives each method its place in the navigation."""

import os
from pathlib import Path
from typing import Any

import api
import methods
import reference
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
FEW = "PETBENCH_SITE_METHODS"  # methods with commas: the site with pages of these alone, in seconds


def on_config(config: Any) -> None:
    """The methods' pages, family by family, below what the navigation has under Methods."""
    (section,) = [entry["Methods"] for entry in config.nav if "Methods" in entry]
    for family, names in methods.by_family(_wanted()).items():
        section.append({family: [{name: methods.path_of(name)} for name in names]})


def on_files(files: Any, config: Any) -> None:
    """Every made page."""
    pages = {**methods.pages(_wanted()), **api.pages(), **reference.pages(ROOT)}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """What only the site has: pages without neighbours have no navigation, docs/methods.md a link to the made pages."""
    if page.parent is None:
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri != "methods.md":
        return markdown
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\nEvery method has a page of its own: [all of them](methods/index.md).\n{rest}"


def _wanted() -> list[str]:
    few = os.environ.get(FEW, "")
    return few.split(",") if few else methods.every()
