"""The page in headless Chromium, from a file: no console error, tables sort, plots are drawn."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from petbench.record import Record
from petbench.record.units import points
from petbench.report.in_short import in_short
from petbench.report.layout import Row
from petbench.report.page.page import render
from petbench.report.tables import build
from petbench.report.write import load

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_records.py"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--window-size=1280,900", "--virtual-time-budget=2000", "--dump-dom",
)  # fmt: skip


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """One model, whole: 392 runs."""
    spec = importlib.util.spec_from_file_location("make_records", SCRIPT)
    assert spec is not None and spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return [maker.make(member) for member in islice(maker.members(), 392)]


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render(build(records), records)


def browse(page: str, folder: Path, address: str = "", act: str = "") -> tuple[str, str]:
    """The DOM after loading the page and running `act`, and what the console said."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{act}</script></body>"), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", f"{path.as_uri()}{address}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def column(dom: str, place: int) -> list[str]:
    """The values of a column of the first table, small print and marks taken off."""
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    values = []
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        cell = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)[place]
        cell = re.sub(
            r"<small>.*?</small>|<svg.*?</svg>|<span class=\"(?:mark|sign)\".*?</span>",
            "",
            cell,
            flags=re.DOTALL,
        )
        values.append(unescape(re.sub(r"<.*?>", "", cell)).strip())
    return values


def test_it_draws_everything_without_a_word_on_the_console(page, tmp_path) -> None:
    dom, console = browse(page, tmp_path)
    assert console == ""
    assert 'data-ready="true"' in dom[:300] and "data-error" not in dom[:300]
    shown = re.findall(r'<article class="card" id="chart-(\w+)"([^>]*)>', dom)
    assert [name for name, attributes in shown if "hidden" not in attributes] == [
        "pareto", "time", "heat", "seeds", "curves", "reach", "low", "tuning",
    ]  # fmt: skip
    assert not re.search(r'="[^"]*(?:NaN|undefined)', dom[: dom.index('id="data"')])
    averages = [float(value) for value in column(dom, 9)]
    assert averages == sorted(averages, reverse=True)


def test_a_click_on_a_head_sorts_by_the_mean(page, tmp_path) -> None:
    click = "document.querySelector('button[data-sort=\"0\"][data-key=rte]').click();"
    dom, console = browse(page, tmp_path, act=click * 2)
    assert console == ""
    assert 'aria-sort="ascending"' in dom
    values = [float(value) for value in column(dom, 8)]
    assert len(values) >= 8 and len(set(values)) > 3
    assert values == sorted(values)


def test_the_address_chooses_task_method_and_order(page, tmp_path) -> None:
    dom, console = browse(page, tmp_path, "#sort=label:asc&without=full,lora,cola&theme=dark")
    assert console == ""
    names = column(dom, 0)
    assert names and not any(name.split()[0] in ("full", "lora") for name in names)
    assert names == sorted(names)
    assert 'data-theme="dark"' in dom[:200]
    assert not re.search(r'<button[^>]*data-key="cola"', dom)
    assert "of shown tasks" in dom


def test_one_task_has_its_trade_offs_and_order_without_an_average(records, tmp_path) -> None:
    alone = [record for record in records if record.task == "mrpc"]
    dom, console = browse(render(build(alone), alone), tmp_path)
    assert console == ""
    shown = re.findall(r'<article class="card" id="chart-(\w+)"([^>]*)>', dom)
    assert {"pareto", "time"} <= {name for name, attributes in shown if "hidden" not in attributes}
    assert not re.search(r'<button[^>]*data-key="average"', dom)
    scores = [float(value) for value in column(dom, 1)]
    assert len(set(scores)) > 3
    assert scores == sorted(scores, reverse=True)


EXAMPLES = SCRIPT.parents[1] / "results" / "examples"


@pytest.fixture(scope="module")
def forty() -> str:
    """The committed examples: thirty-nine methods on one task."""
    kept = load(EXAMPLES)
    return render(build(kept), kept)


def best_of(folder: Path) -> Sequence[Row]:
    """The rows of a folder's one table, the highest first."""
    (table,) = build(load(folder)).tables
    return table.rows


def score_of(row: Row) -> str:
    """A row's score as tables print it."""
    (entry,) = row.entries.values()
    return points(fmean(entry.cell.values.values()))


def told(dom: str) -> str:
    """What `act` wrote into the title."""
    found = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def test_of_forty_methods_ten_are_shown_and_three_take_four_clicks(forty, tmp_path) -> None:
    dom, _ = browse(forty, tmp_path)
    rows = best_of(EXAMPLES)
    (short,) = in_short(*build(load(EXAMPLES)).tables)
    first = {row.label for row in rows[:10]} | {short.pick, "full", "head_only"}  # and the yardsticks
    assert set(column(dom, 0)) == first and len(column(dom, 0)) == len(first)
    ties = sum(entry.standing == "top" for row in rows for entry in row.entries.values())
    assert "Show all 39 methods" in dom
    assert f"{ties} of 39 methods are not significantly below" in dom
    steps = "document.querySelector('[data-mode=none]').click();" + "".join(
        f"document.querySelector('[data-methodchip=\"{name}\"]').click();"
        for name in ("krona", "lora", "ia3")
    )
    dom, console = browse(forty, tmp_path, act=f"{steps}document.title = address();")
    assert console == "" and sorted(column(dom, 0)) == ["ia3", "krona", "lora"]
    dom, _ = browse(forty, tmp_path, told(dom))
    assert sorted(column(dom, 0)) == ["ia3", "krona", "lora"]
    chip = "document.querySelector('[data-methodchip=krona]')"
    click = f"{chip}.dispatchEvent(new MouseEvent('click', {{bubbles: true, detail: 1}}));"
    dom, _ = browse(forty, tmp_path, act=click * 2)
    assert column(dom, 0) == ["krona"]
    dom, _ = browse(forty, tmp_path, act="document.querySelector('[data-family=Kronecker]').click();")
    assert sorted(column(dom, 0)) == [
        "compacter",
        "compacter_pp",
        "krona",
        "krona_b",
        "krona_b_res",
        "peft/lokr",
        "phm_adapter",
    ]


def test_a_run_opens_with_its_command_and_can_be_copied(forty, tmp_path) -> None:
    act = (
        "document.querySelector('[data-run]').click(); const open = document.getElementById('drawer').open;"
        "const command = commandOf(S.run); document.getElementById('close').click();"
        "setTimeout(() => document.title = JSON.stringify([open, address(), latexOf(0), csvOf(0), command]), 300);"
    )
    dom, console = browse(forty, tmp_path, act=act)
    was_open, hash_, latex, table, command = json.loads(told(dom))
    assert console == "" and was_open is True and hash_ == ""
    (epochs,) = {record.config["trainer"]["epochs"] for record in load(EXAMPLES)}
    assert re.fullmatch(
        rf"petbench train adapter=\S+ task=sst2 model=minilm .*trainer\.epochs={epochs} seed=\d", command
    )
    (highest, *_), shown = best_of(EXAMPLES), len(column(browse(forty, tmp_path)[0], 0))
    assert latex.count("\\\\") == shown + 1  # a head, and a line a row
    assert re.search(rf"{re.escape(highest.label)} & [\d,]+ & \\textbf{{{score_of(highest)}}}", latex)
    heads, first, *_ = table.splitlines()
    assert heads.startswith("method,setting,sst2 mean,sst2 std,sst2 n,tuned")
    assert first.startswith(f"{highest.adapter},{highest.label},{score_of(highest)}")
    run = next(record.run_id for record in load(EXAMPLES) if record.adapter == "compacter_pp")
    dom, _ = browse(
        forty,
        tmp_path,
        f"#run={run}",
        act="document.title = document.querySelector('#drawer pre').textContent;",
    )
    assert "adapter=compacter_pp" in told(dom)


ACCESSIBLE = (Path(__file__).parent / "page_accessible.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("address", ["#theme=light&show=all", "#theme=dark"])
def test_names_regions_headings_focus_and_contrast(page, forty, tmp_path, address) -> None:
    dom, console = browse(page, tmp_path, address, act=ACCESSIBLE)
    assert (console, json.loads(told(dom))) == ("", [])
    open_run = "document.querySelector('[data-run]').click();"
    dom, _ = browse(forty, tmp_path, address, act=open_run + ACCESSIBLE)
    assert json.loads(told(dom)) == []
