"""The report and compare commands: files, checks, errors and what they import."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from petbench.commands.compare import compare_main
from petbench.commands.report import report_main
from petbench.errors import UserError
from petbench.record import Answers, read_answers, read_records, run_folder, write_answers, write_record
from petbench.report import write

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def results(make, tmp_path: Path) -> Path:
    for adapter, base in (("krona", 0.8), ("lora", 0.7)):
        for seed in range(6):
            write_record(make(adapter, seed=seed, value=base + seed / 500), tmp_path)
    return tmp_path


def test_tables_are_written_and_hold(results: Path, capsys) -> None:
    assert report_main([str(results), "--tables-only"]) == 0
    assert {path.name for path in (results / "report").iterdir()} == {"tables.md", "tables.csv", "tables.tex"}
    assert "80.5* ± 0.4" in capsys.readouterr().out
    assert report_main([str(results), "--check"]) == 0
    assert "the tables hold" in capsys.readouterr().out


@pytest.mark.parametrize("most", [0, 10, 10**6])
def test_answers_are_read_once_while_there_is_room(
    results: Path, capsys, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The tables and the page ask for the same answers; beyond so many rows nothing more is kept."""
    records = list(read_records(results))
    for record in records:
        kept = Answers(np.arange(8), np.ones(8, np.float32), np.arange(8) % 2)
        write_answers(run_folder(results, record.run_id), {record.headline.split: kept})
    asked: list[Path] = []

    def counted(folder: Path, split: str, **more: bool) -> Answers | None:
        asked.append(folder)
        return read_answers(folder, split, **more)

    monkeypatch.setattr(write, "MOST_KEPT", most)
    monkeypatch.setattr(write, "read_answers", counted)
    report_main([str(results)])
    assert len(set(asked)) == len(records)
    assert (len(asked) == len(records)) == (most == 10**6)


def test_check_finds_a_typed_number(results: Path, capsys) -> None:
    report_main([str(results), "--tables-only"])
    path = results / "report" / "tables.md"
    path.write_text(path.read_text().replace("**80.5**", "**90.2**"))
    capsys.readouterr()
    assert report_main([str(results), "--check"]) == 1
    out = capsys.readouterr().out
    assert "-| krona | **90.2**" in out and "+| krona | **80.5**" in out
    assert "**90.2**" in path.read_text()  # nothing is repaired


def test_check_finds_a_new_record_and_a_missing_file(results: Path, make, capsys) -> None:
    report_main([str(results), "--tables-only"])
    write_record(make("krona", seed=6, value=0.1), results)
    (results / "report" / "tables.tex").unlink()
    assert report_main([str(results), "--check"]) == 1
    assert "tables.tex is missing" in capsys.readouterr().out


def test_check_looks_beside_the_examples(results: Path) -> None:
    examples, tables = results / "examples", results / "tables"
    examples.mkdir()
    (results / "runs").rename(examples / "runs")
    assert report_main([str(examples), "--tables-only", "--out", str(tables)]) == 0
    assert report_main([str(examples), "--check"]) == 0


def test_check_without_tables_says_what_to_do(results: Path) -> None:
    with pytest.raises(UserError, match=r"no tables in .* to check"):
        report_main([str(results), "--check"])


def test_where(results: Path, capsys) -> None:
    report_main([str(results), "--tables-only", "--where", "adapter=krona"])
    assert "6 runs: 6 done" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"none of the 12 records .* has adapter=bitfit"):
        report_main([str(results), "--where", "adapter=bitfit"])


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="petbench train adapter=krona task=rte data=toy"):
        report_main([str(tmp_path)])


def test_cite(results: Path, capsys) -> None:
    report_main([str(results), "--tables-only", "--cite"])
    bibtex = (results / "report" / "citations.bib").read_text()
    for key in ("edalati2022krona", "hu2022lora", "dagan2005rte", "wang2019glue"):
        assert bibtex.count(f"{{{key},") == 1
    assert "benzaken2022bitfit" not in bibtex
    assert bibtex in capsys.readouterr().out


def test_compare(results: Path, capsys) -> None:
    assert (
        compare_main(["adapter=krona", "adapter=lora", "--results", str(results), "--where", "task=rte"]) == 0
    )
    out = capsys.readouterr().out
    assert out.startswith(
        "On rte, krona is ahead of lora by 10.0 points (95% interval 9.5 to 10.5 over seeds, on these rows; p < 0.001; "
        "wins 100% of runs).\n"
    )


def test_nothing_heavy_is_imported(results: Path) -> None:
    code = (
        "import sys, json; from petbench.commands.report import report_main;"
        "from petbench.commands.compare import compare_main;"
        "from petbench.report.published.beside import ours_beside_theirs;"
        f"report_main([{str(results)!r}, '--cite']);"
        f"compare_main(['adapter=krona', 'adapter=lora', '--results', {str(results)!r}]);"
        "ours_beside_theirs('krona_table1', []);"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "hydra",
        "pandas",
        "sklearn",
    }


def test_made_records_are_marked(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_records.py"
    subprocess.run(
        [sys.executable, str(script), str(tmp_path), "--count", "60"], check=True, capture_output=True
    )
    assert report_main([str(tmp_path), "--tables-only"]) == 0
    assert "MADE RECORDS" in (tmp_path / "report" / "tables.md").read_text()
