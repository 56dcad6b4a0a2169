"""Committed results hold: a number leads to rows, weights, code and answers by row (docs/contributing-results.md)."""

import csv
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from made_glue import REAL_GLUE
from petbench.adapters.registry import spec_of
from petbench.config.sections import DataSpec
from petbench.config.spec import parse
from petbench.record import RECORD_FILE, Record, read_answers, read_records
from petbench.report.write import derive
from petbench.tasks.metrics import metric
from petbench.tasks.rows.load import load_splits
from petbench.tasks.task import name_of, own

ROOT = Path(__file__).resolve().parents[2]
# Digests of rows that a script of ours cuts from GLUE's. SST-2's train rows in three, by scripts/make_findings.py:
CUT = "988cf33738dadbbfc5bdb016c473f82285c0865f96e2d65f15144343bd3ba103"
RESULTS = [ROOT / "results" / "examples", *sorted((ROOT / "results" / "findings").glob("*/"))]


def complaints(folder: Path) -> list[str]:
    """What a reviewer refuses in a folder of records, one line each."""
    found = []
    for record in read_records(folder):
        place = folder / "runs" / record.run_id
        found += [
            f"{record.run_id}: {what}" for what in (*origin(record), *form(place), *numbers(record, place))
        ]
    return found


def origin(record: Record) -> list[str]:
    """Code, rows and weights that nobody could get again."""
    facts, wrong = record.provenance, []
    if record.status not in ("done", "failed", "diverged"):
        wrong.append(f"it has not ended: {record.status}")
    if facts.git is None or facts.git.dirty:
        wrong.append("its code is in no commit")
    if facts.data.source not in ("local", "hub") and facts.data.digest != CUT:
        wrong.append(f"its rows are {facts.data.source}")
    if facts.model.source.startswith("random"):
        wrong.append("its weights are random")
    if facts.content is None:
        wrong.append("its content is not known")
    elif parse(record.config, spec_of).run_id(facts.content.model_dump()) != record.run_id:
        wrong.append("its id is not that of its config and content")
    return wrong


def form(place: Path) -> list[str]:
    """What does not belong into a repository."""
    text = (place / RECORD_FILE).read_text(encoding="utf-8")
    wrong = [f"a path of one machine: {root[-1]}" for root in ('"/', '"~', ":\\\\") if root in text]
    extra = {path.name for path in place.iterdir()} - {RECORD_FILE, "answers.npz"}
    return wrong + [f"files besides record and answers: {', '.join(sorted(extra))}"] * bool(extra)


def numbers(record: Record, place: Path) -> list[str]:
    """Scores that its answers do not give."""
    if record.status != "done" or record.is_trial:
        return []
    wrong = []
    for split, scores in record.metrics.report.items():
        kept = read_answers(place, split)
        if kept is None:
            wrong.append(f"no answers for {split}")
            continue
        made = metric(tuple(scores)).compute(predictions=kept.answers, references=kept.labels)
        for name, value in scores.items():
            if abs(made[name] - value) > 1e-6:
                wrong.append(f"{split} {name}: {value:.4f}, but its answers give {made[name]:.4f}")
    return wrong


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_nothing_is_refused(folder: Path) -> None:
    assert not complaints(folder)


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_the_tables_have_five_seeds_or_more(folder: Path) -> None:
    tables = derive(folder, {})[0].tables
    cells = [entry.cell for table in tables for row in table.rows for entry in row.entries.values()]
    assert cells and not [f"{cell.adapter} {cell.task}" for cell in cells if len(cell.values) < 5]


def test_the_findings_page_shows_the_means_of_the_tables() -> None:
    """Every `mean ± deviation` of a section stands in the tables.md that the section names."""
    sections = (ROOT / "docs/findings.md").read_text(encoding="utf-8").split("\n## ")
    seen = 0
    for section in sections:
        cells = re.findall(r"(\d+\.\d)\**( ± \d+\.\d)", section)
        named = re.findall(r"`(results/findings/\w+/report/tables\.md)`", section)
        assert bool(cells) == bool(named)
        tables = "".join((ROOT / name).read_text(encoding="utf-8") for name in named)
        tables = re.sub(r"\*| †\d+", "", tables)
        assert not [cell for cell in cells if f"| {''.join(cell)} [" not in tables]
        seen += len(cells)
    assert seen >= 26


def test_the_findings_page_names_the_runs_of_stsb() -> None:
    """LoRA's three lowest of twelve, the range of its others and KronA's, from the records."""
    found: dict[str, list[float]] = {"krona": [], "lora": []}
    for record in read_records(ROOT / "results/findings/kronecker"):
        if record.task == "stsb" and not record.is_trial and record.headline is not None:
            found[record.adapter].append(100 * (record.headline.value or 0))
    krona, lora = sorted(found["krona"]), sorted(found["lora"])
    assert len(krona) == len(lora) == 12
    said = (
        f"Two of LoRA's twelve runs ended at {lora[0]:.1f} and {lora[1]:.1f}, one at {lora[2]:.1f}, the others at "
        f"{lora[3]:.1f} to {lora[-1]:.1f}, and KronA's at {krona[0]:.1f} to {krona[-1]:.1f}"
    )
    assert said in (ROOT / "docs/findings.md").read_text(encoding="utf-8")


def test_the_findings_page_says_which_rates_were_chosen() -> None:
    """By factor shape, with the rank of the update (ranks of A and B multiplied); by layers; of the pair on SST-2."""
    page = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    written = {0.005: "5e-3", 0.01: "1e-2", 0.02: "2e-2"}
    chosen: dict[tuple[str, str, str], set[float]] = {}
    for folder in ("shapes", "layers", "kronecker", "seeds"):
        for record in read_records(ROOT / "results/findings" / folder):
            if record.task == "sst2" and not record.is_trial:
                adapter = record.config["adapter"]
                setting = str(adapter["layers"] if folder == "layers" else adapter.get("factor_shape"))
                key = (folder, adapter["method"], setting)
                chosen.setdefault(key, set()).add(record.config["optim"]["lr"])
    rates = {key: written[rate] for key, (rate,) in chosen.items()}
    shapes = {setting: rate for (folder, _, setting), rate in rates.items() if folder == "shapes"}
    assert len(shapes) == 9 and f"| LoRA, rank 1 | 1 | {shapes.pop('None')} |" in page
    for setting, rate in shapes.items():
        a1, a2 = map(int, re.findall(r"\d+", setting))
        rank = min(a1, a2) * min(384 // a1, 384 // a2)
        assert f"| KronA, {a1}x{a2} | {rank} | {rate} |" in page
    layers = ["last:1", "last:2", "last:3", "last:4", "last:5", "all"]
    assert [rates["layers", "hadamard", some] for some in layers] == ["2e-2"] * 6
    assert [rates["layers", "ln_tuning", some] for some in layers] == ["1e-2"] * 4 + ["5e-3"] * 2
    pair = {(folder, method): rate for (folder, method, _), rate in rates.items()}
    for method, name in (("lora", r"LoRA, rank 1"), ("krona", "KronA")):
        by_one, by_three = pair["kronecker", method], pair["seeds", method]
        assert re.search(
            rf"\| {name} \| [\d.]+ ± [\d.]+ \({by_one}\) \| [\d.]+ ± [\d.]+ \({by_three}\) \|", page
        )


def test_the_findings_page_says_what_the_krona_paper_prints() -> None:
    """KronA against LoRA in its Table 1: the mean over the tasks, and without RTE."""
    with (ROOT / "results/published/glue_results.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["paper"], row["table"]) == ("krona", "Table 1")]
    krona, lora = (
        {
            row["task"]: float(row["value"])
            for row in rows
            if row["method"] == method and row["task"] != "average"
        }
        for method in ("KronA", "LoRA")
    )
    gaps = {task: krona[task] - lora[task] for task in lora}
    rest = [gap for task, gap in gaps.items() if task != "rte"]
    said = f"in the mean {fmean(gaps.values()):.2f} above its LoRA, and without RTE {-fmean(rest):.2f} below"
    assert len(gaps) == 8 and said in (ROOT / "docs/findings.md").read_text(encoding="utf-8")


def spoiled(tmp_path: Path, **changes: Any) -> list[str]:
    """The complaints about a committed record after a change."""
    record = next(record for record in read_records(ROOT / "results/examples") if record.headline)
    place = tmp_path / "runs" / record.run_id
    shutil.copytree(ROOT / "results/examples/runs" / record.run_id, place)
    content = json.loads((place / RECORD_FILE).read_text(encoding="utf-8"))
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        part = content
        for parent in parents:
            part = part[parent]
        part[leaf] = value
    (place / RECORD_FILE).write_text(json.dumps(content), encoding="utf-8")
    return complaints(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": "interrupted"}, "it has not ended: interrupted"),
        ({"provenance__git__dirty": True}, "its code is in no commit"),
        ({"provenance__git": None}, "its code is in no commit"),
        ({"provenance__data__source": "toy"}, "its rows are toy"),
        ({"provenance__data__source": "file"}, "its rows are file"),
        ({"provenance__model__source": "random minilm"}, "its weights are random"),
        ({"provenance__content": None}, "its content is not known"),
        ({"config__optim__lr": 0.5}, "its id is not that of its config and content"),
        ({"provenance__data__location": "/home/me/glue"}, "a path of one machine: /"),
        (
            {"metrics__report__validation__accuracy": 0.99},
            "validation accuracy: 0.9900, but its answers give 0.",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    (found,) = spoiled(tmp_path, **changes)
    assert complaint in found


@pytest.mark.skipif(not REAL_GLUE.is_dir(), reason="no real GLUE beside the repository")
def test_rows_that_we_cut_are_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "scripts")])
    cut_rows = runpy.run_path(str(ROOT / "scripts/make_findings.py"))["cut_rows"]
    cut_rows(REAL_GLUE, tmp_path / "rows")
    data = DataSpec(file=str(tmp_path / "rows"))
    splits = load_splits(own(name_of(data), data), data)
    assert splits.digest == CUT
    texts = [text for part in splits.parts.values() for text in part.texts["sentence"]]
    assert len(set(texts)) == len(texts) == 25_000


def test_a_record_without_answers_is_refused(tmp_path: Path) -> None:
    assert not spoiled(tmp_path)
    (place,) = (tmp_path / "runs").iterdir()
    (place / "answers.npz").unlink()
    (place / "notes.txt").write_text("mine", encoding="utf-8")
    assert [line.split(": ", 1)[1] for line in complaints(tmp_path)] == [
        "files besides record and answers: notes.txt",
        "no answers for validation",
    ]
