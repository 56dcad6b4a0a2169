"""The GLUE zip from made runs, and every way in which it can be wrong."""

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from petbench.commands.submit import submit_main
from petbench.errors import UserError
from petbench.files import write_json
from petbench.record import Record, write_record
from petbench.tasks.glue import TASKS, rules_of, task_named
from petbench.tasks.submission.check import check_submission, official_counts
from petbench.tasks.submission.write import STEMS, gather, write_submission

ROWS = 5
COUNTS = dict.fromkeys(STEMS, ROWS)
TRAINED = [name for name, task in TASKS.items() if task.train and name != "wnli"]


def made_run(results: Path, name: str, run_id: str | None = None, **changes: object) -> str:
    """A finished run under `results` whose predictions count up through the labels; its id."""
    task = task_named(name)
    run_id = run_id or f"run{name}"
    parts = {f"predict/{split}": split for split in (*task.test, *task.glue.also)}
    values = {
        "run_id": run_id, "status": "done", "task": name, "model": "tiny_bert", "adapter": "krona", "seed": 0,
        "protocol": "glue_test", "config": {"data": {"toy_validation": ROWS}},
        "provenance": {"data": {"source": "toy", "partial": []}, "rows": dict.fromkeys(parts, ROWS)},
    }  # fmt: skip
    record = Record.model_validate(values | changes)
    write_record(record, results)
    for split in parts.values():
        answers = (
            [1.5 + row for row in range(ROWS)]
            if task.regression
            else [r % len(task.labels) for r in range(ROWS)]
        )
        predictions(results, run_id, split, [(row, answer) for row, answer in enumerate(answers)])
    return run_id


def predictions(results: Path, run_id: str, split: str, rows: list[tuple[int, object]]) -> None:
    """Write one predictions file."""
    path = results / "runs" / run_id / "predictions" / f"predict-{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"idx": idx, "prediction": answer, "label": None}) for idx, answer in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of every task but WNLI."""
    for name in TRAINED:
        made_run(tmp_path, name)
    return tmp_path


RUNS = [f"run{name}" for name in TRAINED]


def test_the_zip_holds_eleven_files_with_the_servers_labels(results: Path) -> None:
    submission = gather(RUNS, results)
    target = write_submission(submission, results / "glue.zip")
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == [
            "CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "QNLI.tsv",
            "RTE.tsv", "WNLI.tsv", "AX.tsv",
        ]  # fmt: skip
        text = {name: archive.read(name).decode() for name in archive.namelist()}
    assert text["CoLA.tsv"] == "index\tprediction\n0\t0\n1\t1\n2\t0\n3\t1\n4\t0\n"
    assert text["RTE.tsv"].splitlines()[1:3] == ["0\tentailment", "1\tnot_entailment"]
    assert text["AX.tsv"].splitlines()[1:4] == ["0\tentailment", "1\tneutral", "2\tcontradiction"]
    assert text["STS-B.tsv"].splitlines()[1:] == ["0\t1.500", "1\t2.500", "2\t3.500", "3\t4.500", "4\t5.000"]
    assert text["WNLI.tsv"] == "index\tprediction\n" + "".join(f"{row}\t0\n" for row in range(ROWS))
    assert check_submission(target, COUNTS) == []
    assert any("STS-B: 1 answers outside 0 to 5" in note for note in submission.notes)
    assert any(note.startswith("WNLI: no run was given") for note in submission.notes)
    assert any("not for the GLUE server" in note for note in submission.notes)


def test_a_wnli_run_is_used_when_it_is_named(results: Path) -> None:
    submission = gather([*RUNS, made_run(results, "wnli")], results)
    part = submission.parts[STEMS.index("WNLI")]
    assert (part.origin, list(part.answers)) == ("run runwnli", [0, 1, 0, 1, 0])
    assert not any("WNLI" in note for note in submission.notes)


def test_the_same_predictions_give_the_same_bytes(results: Path) -> None:
    first = write_submission(gather(RUNS, results), results / "a.zip").read_bytes()
    assert write_submission(gather(RUNS[::-1], results), results / "b.zip").read_bytes() == first


def test_rows_are_ordered_by_their_number(results: Path) -> None:
    predictions(results, "runrte", "test", [(row, int(row == 4)) for row in (3, 1, 4, 0, 2)])
    part = gather(RUNS, results).parts[STEMS.index("RTE")]
    assert list(part.answers) == [0, 0, 0, 0, 1]


def test_official_rows_are_wanted_of_real_data(results: Path) -> None:
    made_run(results, "rte", provenance={"data": {"source": "local", "partial": []}})
    with pytest.raises(UserError, match=r"RTE\.tsv: 5 rows, expected 3000"):
        write_submission(gather(RUNS, results), results / "glue.zip")
    assert not (results / "glue.zip").exists() and not list(results.glob(".glue*"))
    assert official_counts()["AX"] == 1104 and official_counts()["QQP"] == 390965


def test_what_is_missing_is_named_with_the_run_that_gives_it(results: Path) -> None:
    with pytest.raises(UserError) as caught:
        gather([run for run in RUNS if run not in ("runrte", "runmnli")], results)
    said = str(caught.value)
    assert "lacks MNLI-m, MNLI-mm, RTE, AX." in said and "Add runs of: mnli, rte " in said
    (results / "runs" / "runmnli" / "predictions" / "predict-ax.jsonl").unlink()
    with pytest.raises(UserError, match=r"lacks AX .the mnli run found no ax rows"):
        gather(RUNS, results)


def test_runs_that_do_not_fit_are_refused(results: Path) -> None:
    made_run(results, "rte", "again")
    with pytest.raises(UserError, match="two runs predict RTE: run runrte and run again"):
        gather([*RUNS, "again"], results)
    made_run(results, "rte", "other", protocol="petbench")
    with pytest.raises(UserError, match=r"protocol=petbench and predicted no test rows.*glue_test"):
        gather(["other"], results)
    made_run(results, "rte", "broken", status="diverged")
    with pytest.raises(UserError, match="is diverged, not done"):
        gather(["broken"], results)
    with pytest.raises(UserError, match="no run 'nowhere'"):
        gather(["nowhere"], results)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 0), (1, None), (2, 1), (3, None), (4, 0)], "2 of 5 RTE answers are not labels"),
        ([(0, 0), (1, 7), (2, 1), (3, 1), (4, 0)], "1 of 5 RTE answers are not labels .the first: 7"),
        ([(0, 0), (1, 1), (2, 1), (3, 1), (5, 0)], "none with idx 4"),
        ([(0, 0), (1, 1), (1, 1), (3, 1), (4, 0)], "none with idx 2: rows are missing or repeated"),
    ],
)
def test_broken_predictions_are_refused(results: Path, rows: list[tuple[int, object]], message: str) -> None:
    predictions(results, "runrte", "test", rows)
    with pytest.raises(UserError, match=message):
        gather(RUNS, results)


Change = Callable[[list[str]], list[str]]
BREAKS: dict[str, tuple[str, Change, str]] = {
    "missing row": ("RTE", lambda t: t[:3] + t[4:], "RTE.tsv, line 4: index '3', expected 2"),
    "missing last row": ("RTE", lambda t: t[:-1], "RTE.tsv: 4 rows, expected 5"),
    "wrong label": ("QNLI", lambda t: [*t[:2], "1\tneutral", *t[3:]], "QNLI.tsv, line 3: label 'neutral'; legal:"),
    "code for name": ("RTE", lambda t: [*t[:2], "1\t1", *t[3:]], "RTE.tsv, line 3: label '1'; legal: entailment"),
    "wrong order": ("MRPC", lambda t: [t[0], t[2], t[1], *t[3:]], "MRPC.tsv, line 2: index '1', expected 0"),
    "other header": ("CoLA", lambda t: ["id\tlabel", *t[1:]], "CoLA.tsv, line 1: the header is 'id\\tlabel'"),
    "no header": ("CoLA", lambda t: t[1:], "CoLA.tsv, line 1: the header is '0\\t0'"),
    "a word for a number": ("STS-B", lambda t: [*t[:5], "4\thigh"], "STS-B.tsv, line 6: 'high' is not a number"),
    "too large": ("STS-B", lambda t: [*t[:5], "4\t5.1"], "STS-B.tsv, line 6: 5.1 is not from 0 to 5"),
    "not a number": ("STS-B", lambda t: [*t[:5], "4\tnan"], "STS-B.tsv, line 6: nan is not from 0 to 5"),
    "comma": ("AX", lambda t: [t[0], "0,neutral", *t[2:]], "AX.tsv, line 2: 1 fields, expected 2"),
    "extra column": ("AX", lambda t: [t[0], "0\tneutral\t0.9", *t[2:]], "AX.tsv, line 2: 3 fields, expected 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BREAKS))
def test_the_checker_says_why(results: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    stem, change, reason = BREAKS[name]
    good, bad = write_submission(gather(RUNS, results), results / "good.zip"), results / "bad.zip"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.namelist():
            text = source.read(entry).decode()
            if entry == f"{stem}.tsv":
                text = "\n".join(change(text.removesuffix("\n").split("\n"))) + "\n"
            target.writestr(entry, text)
    (problem,) = check_submission(bad, COUNTS)
    assert problem.startswith(reason)
    assert submit_main(["--check", str(bad), *RUNS, "--results", str(results)]) == 1
    assert reason in capsys.readouterr().out


def test_the_checker_counts_the_files(results: Path, recwarn: pytest.WarningsRecorder) -> None:
    good, bad = write_submission(gather(RUNS, results), results / "good.zip"), results / "bad.zip"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.namelist():
            if entry != "RTE.tsv":
                target.writestr(entry, source.read(entry))
        target.writestr("RTE.tsv", b"index\tprediction\n0\t\xff\n")
        target.writestr("RTE.tsv", source.read("RTE.tsv"))  # zipfile warns, and writes it all the same
        target.writestr("glue/CoLA.tsv", "index\tprediction\n")
    assert check_submission(bad, COUNTS) == [
        "RTE.tsv occurs 2 times",
        f"glue/CoLA.tsv does not belong there; legal: {', '.join(f'{s}.tsv' for s in STEMS)}, in no folder",
    ]
    bad.write_bytes(good.read_bytes()[:200])
    assert check_submission(bad)[0].startswith(f"{bad} is not a readable zip")
    assert check_submission(results / "none.zip") == [f"there is no {results / 'none.zip'}"]


def zipped(path: Path, name: str, content: bytes, **entry: object) -> Path:
    """A right submission but for one entry."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for stem in STEMS:
            task = next(t for t in TASKS.values() if stem in rules_of(t).files.values())
            label = rules_of(task).labels[0] if rules_of(task).labels else "1.000"
            rows = "".join(f"{row}\t{label}\n" for row in range(ROWS))
            info = zipfile.ZipInfo(f"{stem}.tsv")
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in entry.items() if stem == name else ():
                setattr(info, key, value)
            archive.writestr(info, content if stem == name else f"index\tprediction\n{rows}")
    return path


def test_an_entry_is_unpacked_as_far_as_a_right_one_goes(tmp_path: Path) -> None:
    """A zip bomb: half a gigabyte of zeros in half a megabyte."""
    path = zipped(tmp_path / "bomb.zip", "RTE", b"index\tprediction\n" + bytes(200 * 2**20))
    assert path.stat().st_size < 2**20
    began = time.monotonic()
    assert check_submission(path, COUNTS) == ["RTE.tsv: has more than 4,480 bytes, too many for 5 rows"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "kind", ["encrypted", "lzma", "bzip2", "lies about its size", "cut", "a thousand entries"]
)
def test_odd_zips_are_said(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    packed = {"lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2}
    zipped(path, "RTE", b"index\tprediction\n", **({"compress_type": packed[kind]} if kind in packed else {}))
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02", 0, data.rfind(b"RTE.tsv"))  # of the entry in the directory
    if kind == "encrypted":
        data[place + 8] |= 1
    elif kind == "lies about its size":
        data[place + 24 : place + 28] = (2**31).to_bytes(4, "little")
    elif kind == "cut":
        data = data[: len(data) // 2]
    path.write_bytes(data)
    if kind == "a thousand entries":
        with zipfile.ZipFile(path, "a") as archive:
            for number in range(1000):
                archive.writestr(f"{number}.tsv", "")
    found = check_submission(path, COUNTS)
    said = {
        "encrypted": "is encrypted",
        "lzma": "few programs can read its compression (14)",
        "bzip2": "few programs can read its compression (12)",
    }
    said |= {"cut": "is not a readable zip", "a thousand entries": "1,000 entries do not belong there"}
    assert said.get(kind, "RTE.tsv") in " ".join(found)
    assert len(found) <= 2


def test_submit_without_runs_says_what_to_do() -> None:
    with pytest.raises(UserError, match="no runs named"):
        submit_main([])


def test_a_broken_record_is_said(tmp_path: Path) -> None:
    write_json(tmp_path / "runs" / "x" / "record.json", {"schema_version": 99})
    with pytest.raises(UserError, match="not a petbench record"):
        gather(["x"], tmp_path)
