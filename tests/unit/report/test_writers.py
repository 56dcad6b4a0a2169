"""Markdown, CSV, LaTeX and terminal output."""

import csv
import io
import re

import pytest

from petbench.report.tables import build
from petbench.report.writers.latex import escape, to_latex
from petbench.report.writers.markdown import to_markdown
from petbench.report.writers.spreadsheet import to_csv
from petbench.report.writers.terminal import print_report


@pytest.fixture
def report(make):
    records = [make("krona", "rte", seed, 0.80 + seed / 500) for seed in range(10)]
    records += [make("peft/lora_x", "rte", seed, 0.70 + seed / 900) for seed in range(10)]
    records += [make("krona", "cola", 0, 0.0), make("krona", "cola", 1, status="failed")]
    return build(records)


def test_markdown_cells(report) -> None:
    text = to_markdown(report)
    assert "| **80.9** ± 0.6 [80.5, 81.3] n=10 |" in text
    assert "| 70.5 ± 0.3 [70.3, 70.7] n=10 |" in text
    assert "0.0 †1 ✗1 n=1" in text
    assert "22 runs: 21 done, 1 failed" in text


def test_csv_is_unrounded_and_whole(report) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    krona = next(line for line in lines if line["method"] == "krona" and line["task"] == "rte")
    assert float(krona["mean"]) == pytest.approx(0.809)
    assert krona["seeds"] == "0 1 2 3 4 5 6 7 8 9"
    assert (krona["standing"], krona["letters"], krona["n_seeds"]) == ("top", "a", "10")
    cola = next(line for line in lines if line["task"] == "cola")
    assert (cola["collapsed"], cola["failed"]) == ("1", "1")
    average = next(line for line in lines if line["task"] == "average")
    assert float(average["mean"]) == pytest.approx(0.809 / 2)


def test_latex_has_rules_bold_and_no_unicode(report) -> None:
    text = to_latex(report)
    assert text.isascii()
    assert r"\petcell{\textbf{80.9}}{0.6}{80.5}{81.3}{10}" in text
    assert r"peft/lora\_x" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    for row in re.findall(r"\\midrule\n(.*?)\n\\bottomrule", text, re.S)[0].splitlines():
        assert row.count(" & ") == 3  # method, two tasks, average


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("50% of a_b & c#d $e^f~g", r"50\% of a\_b \& c\#d \$e\textasciicircum{}f\textasciitilde{}g"),
        ("{a}\\b", r"\{a\}\textbackslash{}b"),
        ("A⊗B ± × ≤", r"A$\otimes$B $\pm$ $\times$ $\leq$"),
        ("Rücklé", r"R\"{u}ckl\'{e}"),
        ("日本", "??"),
        ("a|b<c>d", r"a\textbar{}b\textless{}c\textgreater{}d"),
    ],
)
def test_latex_escape(text: str, wanted: str) -> None:
    assert escape(text) == wanted


def on_terminal(report, width: int, **options) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, **options)
    print_report(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_terminal(report) -> None:
    text = on_terminal(report, 160, force_terminal=True, color_system="standard")
    assert "\x1b[1m80.9\x1b[0m*" in text
    text = on_terminal(report, 160)
    (line,) = [line for line in text.splitlines() if line.startswith("krona")]
    assert line.split() == [
        "krona",
        *["0.0", "†1", "✗1", "n=1"],
        *["80.9*", "±", "0.6", "n=10"],
        "40.4",
        "1,005",
    ]
    assert "†k: k runs collapsed to one answer, counted in the mean (1 in all)" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("methods", [1, 3, 40])
def test_a_table_has_as_many_lines_as_methods_and_ten_at_most(make, width: int, methods: int) -> None:
    """Eight tasks, a collapse and a failure: every note is there, and nothing goes past the width."""
    tasks = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    records = [
        make(f"method_{number}", task, seed, 0.5 + number / 100 + seed / 1000)
        for number in range(methods) for task in tasks for seed in range(3)
    ]  # fmt: skip
    records += [make("method_0", "cola", 3, 0.0), make("method_0", "rte", 3, status="failed")]
    records = [
        r.model_copy(update={"cost": r.cost.model_copy(update={"train_seconds": 90.0})}) for r in records
    ]
    text = on_terminal(build(records), width)
    lines = text.splitlines()
    assert len(lines) <= methods + 10
    assert max(map(len, lines)) <= width
    assert all(sum(line.startswith(f"method_{number} ") for line in lines) == 1 for number in range(methods))
    if width >= 60:
        assert "average" in text and "params" in text and "time" in text
    heads = "\n".join(lines[2:4])
    assert ("rte" in heads) == ("…" not in heads) and (width < 120 or "rte" in heads)


def test_a_pipe_in_a_label_does_not_break_the_markdown_table(make) -> None:
    text = to_markdown(
        build([make("krona", adapter_config={"x": "a|b"}), make("krona", adapter_config={"x": "c"})])
    )
    assert "krona x=a\\|b" in text
