"""Records as they are read: whole, finite, possible and in their own folder, or reported and left out."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from petbench.config.sections import TuningNote
from petbench.errors import UserError
from petbench.record import (
    ANSWERS_FILE,
    Answers,
    Best,
    Cost,
    DataFacts,
    Headline,
    Merge,
    Metrics,
    Params,
    Point,
    Provenance,
    Record,
    read_answers,
    read_record,
    read_records,
    run_folder,
    write_answers,
    write_record,
)

PARAMS = Params(
    adapter=10,
    head=2,
    norm=0,
    other=0,
    trainable=12,
    backbone=100,
    adapter_percent=10.0,
    trainable_percent=12.0,
)


def record(run_id: str = "0123456789ab") -> Record:
    return Record(
        run_id=run_id, status="done", task="rte", model="tiny", adapter="krona", seed=0, config={"optim": {"lr": 0.1}},
        protocol="petbench", metrics=Metrics(selection={"accuracy": 0.5}, report={"validation": {"accuracy": 0.75}}),
        headline=Headline(name="accuracy", value=0.75, split="validation", n=8), params=PARAMS,
        cost=Cost(train_seconds=1.0), best=Best(step=1, epoch=0.5), merge=Merge(mergeable=True, labels_flipped=0),
        curve=(Point(step=1, epoch=0.5, seconds=1.0, loss=0.5, score=0.5),),
        provenance=Provenance(data=DataFacts(digest="d", majority={"validation": 0.5})),
    )  # fmt: skip


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Put a value at a dotted path of the record's JSON."""

    def change(raw: dict[str, Any]) -> None:
        *parents, leaf = path.split(".")
        place: Any = raw
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[leaf] = value

    return change


INF, NAN = float("inf"), float("nan")
VALUES = [
    ("headline.value", NAN, "finite number"),
    ("headline.value", INF, "finite number"),
    ("headline.value", 87.5, "less than or equal"),
    ("headline.value", "high", "valid number"),
    ("headline.n", -1, "greater than or equal to 0"),
    ("headline.n", 1.5, "valid integer"),
    ("metrics.selection.accuracy", NAN, "finite number"),
    ("metrics.report.validation.accuracy", -1.5, "greater than or equal"),
    ("metrics.report", [1], "should be an object"),
    ("metrics.unparsable", {"validation": -2}, "greater than or equal to 0"),
    ("params.adapter", -10, "greater than or equal to 0"),
    ("params.tuned_percent", INF, "finite number"),
    ("cost.train_seconds", -1, "greater than or equal to 0"),
    ("cost.train_seconds", NAN, "finite number"),
    ("cost.padding_fraction", 1.5, "less than or equal to 1"),
    ("cost.lanes", 0, "greater than or equal to 1"),
    ("best.step", -1, "greater than or equal to 0"),
    ("merge.max_abs_logit_change", NAN, "finite number"),
    ("curve.0.loss", INF, "finite number"),
    ("config.optim.lr", NAN, "holds nan"),
    ("config.adapter", [[-INF]], "holds -inf"),
    ("date", "yesterday", "valid datetime"),
    ("date", "2026-11-26T07:00:00", "should have timezone info"),
    ("curve", [{"step": 1}], "Field required"),
    ("curve.0.score", 87.5, "less than or equal"),
    ("provenance.data.majority.validation", INF, "finite number"),
    ("provenance.data.rows", 3, "Extra inputs"),
    ("provenance.device", 3, "valid string"),
    ("provenance.tuning", {"role": "best"}, "'trial', 'final' or 'cut'"),
    ("provenance.content", {"rows": "r"}, "Field required"),
    ("status", "finished", "'done'"),
    ("seed", "x", "valid integer"),
    ("schema_version", 99, "less than or equal"),
    ("extra", 1, "Extra inputs"),
    ("wandb", 3, "should be an object"),
    ("task", None, "valid string"),
]
TEXTS = {
    "empty": b"",
    "half": b'{"run_id": "0123',
    "list": b"[]",
    "null": b"null",
    "noise": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize(("path", "value", "said"), VALUES)
def test_a_value_that_cannot_be_is_refused_and_left_out(
    path: str, value: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write_record(record(), tmp_path)
    raw = json.loads(broken.read_text())
    put(path, value)(raw)
    broken.write_text(json.dumps(raw))  # Python's JSON has words for NaN and infinity
    left_out(broken, tmp_path, said, capsys)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_no_record_is_refused_and_left_out(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write_record(record(), tmp_path)
    broken.write_bytes(TEXTS[name])
    left_out(broken, tmp_path, "is not a petbench record", capsys)


def test_a_record_in_another_runs_folder_is_refused_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_record(record(), tmp_path)
    path.parent.rename(tmp_path / "runs" / "aaaaaaaaaaaa")
    moved = tmp_path / "runs" / "aaaaaaaaaaaa" / path.name
    left_out(moved, tmp_path, "is the record of run 0123456789ab, not of this folder", capsys)


def left_out(broken: Path, results: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One run is refused with the reason, all others are read."""
    with pytest.raises(UserError, match=r"record\.json"):
        read_record(broken.parent)
    for run_id in ("000000000000", "ffffffffffff"):
        write_record(record(run_id), results)
    assert [each.run_id for each in read_records(results)] == ["000000000000", "ffffffffffff"]
    error = capsys.readouterr().err
    assert error.startswith("warning: left out: ") and str(broken) in error and said in error
    assert len(error.splitlines()) == 1


def test_a_whole_record_is_read_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_record(record(), tmp_path)
    assert read_record(path.parent) == record()
    monkeypatch.chdir(path.parent)
    assert read_record(Path()) == record()


def test_a_correlation_that_is_off_by_a_rounding_is_kept() -> None:
    assert Headline(name="pearson", value=1.0000000000000002, split="validation", n=8).value > 1


def answers(m: int = 300, logits: int | None = None) -> Answers:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, m)
    return Answers(
        ids=np.arange(m, dtype=np.int64),
        labels=labels.astype(np.float32),
        answers=(1 - labels).astype(np.float32),
        logits=random.normal(size=(m if logits is None else logits, 2)).astype(np.float16),
    )


def test_every_wrong_bit_in_answers_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Each byte in turn, another bit of it each time: names, sizes, flags, data and the directory at the end."""
    written = answers(40, logits=2)
    path = write_answers(tmp_path, {"validation": written})
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            read = read_answers(tmp_path, "validation")
        except UserError as error:
            assert "Move it away" in str(error)
            refused += 1
            continue
        assert read is not None, place
        for name, value in vars(written).items():
            np.testing.assert_array_equal(getattr(read, name), value, err_msg=f"byte {place}")
    assert refused > 0.5 * len(whole)


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = answers()
    path = write_answers(tmp_path, {"validation_matched": written})
    assert path.stat().st_size < 4096  # 300 rows
    read = read_answers(tmp_path, "validation_matched")
    assert read is not None
    for name, values in vars(written).items():
        assert np.array_equal(getattr(read, name), values), name
        assert getattr(read, name).dtype == values.dtype, name
    assert read_answers(tmp_path, "validation_mismatched") is None
    assert read_answers(tmp_path / "elsewhere", "validation_matched") is None


def test_answers_are_read_by_numpy_alone(tmp_path: Path) -> None:
    path = write_answers(tmp_path, {"validation": answers()})
    script = (
        "import sys, numpy; print(sorted(numpy.load(sys.argv[1], allow_pickle=False)));"
        "import petbench.record; print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    names = [f"validation/{name}" for name in ("answers", "ids", "labels", "logits")]
    assert done.stdout.splitlines() == [str(names), "[]"]


def test_broken_answers_are_said_with_their_file(tmp_path: Path) -> None:
    write_answers(tmp_path, {"validation": answers(logits=299)})
    with pytest.raises(UserError, match="300 ids, 300 labels, 300 answers, 299 rows of logits"):
        read_answers(tmp_path, "validation")
    (tmp_path / ANSWERS_FILE).write_bytes(b"PK no zip")
    with pytest.raises(UserError, match=r"answers\.npz is not a file of answers: .*Move it away"):
        read_answers(tmp_path, "validation")


def test_what_a_record_says_of_itself() -> None:
    whole = record()
    assert (whole.selection_score, whole.cost.seconds, whole.is_trial, whole.is_toy) == (
        0.5,
        1.0,
        False,
        False,
    )
    assert (whole.precision, whole.device, whole.data_source) == ("", "", "")
    asked = {"trainer": {"precision": "auto"}, "data": {"source": "toy"}}
    early = Record(
        run_id="x", status="failed", task="rte", model="m", adapter="a", seed=0, config=asked, protocol="petbench",
        provenance=Provenance(tuning=TuningNote(role="trial")),
    )  # fmt: skip
    assert (early.precision, early.data_source, early.is_toy, early.is_trial) == ("auto", "toy", True, True)
    assert (early.selection_score, early.cost.seconds, early.collapsed) == (None, 0.0, False)
    used = early.model_copy(update={"provenance": Provenance(precision="bf16", data=DataFacts(source="hub"))})
    assert (used.precision, used.data_source, used.is_trial) == ("bf16", "hub", False)


def test_the_date_is_kept_with_its_zone(tmp_path: Path) -> None:
    ended = datetime(2026, 11, 26, 7, 30, tzinfo=UTC)
    path = write_record(record().model_copy(update={"date": ended}), tmp_path)
    assert json.loads(path.read_text())["date"] == "2026-11-26T07:30:00Z"
    assert read_record(path.parent).date == ended  # type: ignore[union-attr]


def test_a_record_of_the_old_form_is_read(tmp_path: Path) -> None:
    """As petbench wrote it before parts of it were typed: no date, empty mappings, the percent of the adapter."""
    path = write_record(record(), tmp_path)
    raw = json.loads(path.read_text())
    del raw["date"], raw["metrics"]["constant"], raw["provenance"]["tf32"], raw["provenance"]["content"]
    raw["wandb"], raw["provenance"]["git"] = {}, {}
    raw["provenance"]["device"] = {"type": "cpu", "name": "made"}
    raw["params"] = {"adapter": 10, "head": 2, "norm": 5, "other": 1, "trainable": 18, "backbone": 100,
                     "adapter_percent": 16.0, "trainable_percent": 18.0}  # fmt: skip
    raw["metrics"]["report"] = {"validation": {"accuracy": 0.5}}
    path.write_text(json.dumps(raw))
    old = read_record(path.parent)
    assert old is not None and (old.date, old.wandb, old.provenance.git) == (None, None, None)
    assert old.device == "made"
    assert old.params is not None and (old.params.tuned, old.params.tuned_percent) == (16, 16.0)
    assert old.collapsed  # its accuracy is the share of the most frequent label


def test_the_committed_records_hold_every_field_of_today() -> None:
    folder = Path(__file__).parents[2] / "results" / "examples"
    found = list(read_records(folder))
    assert len(found) >= 195 and not any(each.is_trial for each in found)
    collapsed = {(each.adapter, each.seed) for each in found if each.collapsed}
    assert collapsed == {("head_only", 3), ("peft/p_tuning", 4)}
    for each in found:
        assert each.headline is not None
        kept = read_answers(run_folder(folder, each.run_id), each.headline.split)
        assert kept is not None and each.collapsed == (len(set(kept.answers.tolist())) == 1)
        raw = json.loads((folder / "runs" / each.run_id / "record.json").read_text(encoding="utf-8"))
        assert raw == each.model_dump(mode="json"), (
            "a field is new: python scripts/migrate_records.py results/examples"
        )
        assert each.selection_score is not None and each.device and each.precision in ("bf16", "fp32")
        assert each.provenance.content is not None and len(each.curve) > 0


def test_two_thousand_records_are_read_within_three_seconds_of_this_thread(tmp_path: Path) -> None:
    text = write_record(record(), tmp_path).read_text()
    points = ", ".join(['{"step": 1, "epoch": 0.5, "seconds": 1.0, "loss": 0.5, "score": 0.5}'] * 20)
    text = re.sub(r'"curve": \[.*?\]', f'"curve": [{points}]', text, flags=re.DOTALL)
    for number in range(2000):
        folder = tmp_path / "runs" / f"{number:012x}"
        folder.mkdir()
        (folder / "record.json").write_text(text.replace("0123456789ab", folder.name))
    began = time.thread_time()
    assert sum(len(each.curve) for each in read_records(tmp_path)) == 2000 * 20 + 1
    assert time.thread_time() - began < 3
