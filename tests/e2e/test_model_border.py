"""Model folders through the command line: heads, padding, lengths and cut rows, as a user meets them."""

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM

from model_folders import edit, head_folder, model_folder
from petbench.cli import run_command
from petbench.record import Record
from toy_runs import replacing, train

FEW = ("trainer.max_steps=2", "trainer.batch_size=8", "data.toy_train=64", "data.toy_validation=32")


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))


def run_on(folder: Path, *overrides: str, status: int = 0) -> Record:
    return train(f"model.name={folder}", "model.weights=pretrained", "model.tokenizer=same", *FEW, *overrides,
                 status=status, results=f"results_{folder.name}")  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *overrides: str) -> str:
    arguments = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", f"model.name={folder}"]
    arguments += ["model.weights=pretrained", "model.tokenizer=same", *FEW, "results_dir=nothing"]
    assert run_command(replacing(arguments, *overrides)) == 2
    assert not list(Path("nothing").glob("runs/*"))
    return capsys.readouterr().err


def test_the_order_of_a_heads_labels_makes_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    def flipped(tensors):  # type: ignore[no-untyped-def]
        return {
            key: value.flip(0) if key.startswith("classifier") else value for key, value in tensors.items()
        }

    as_glue = head_folder(Path("as_glue"), "tiny_bert", ("negative", "positive"))
    other = head_folder(Path("other"), "tiny_bert", ("positive", "negative"), change=flipped)
    one = run_on(as_glue, "task=sst2", "optim.lr=1e-9")
    assert "as_glue' is kept: its labels are the task's." in capsys.readouterr().out
    two = run_on(other, "task=sst2", "optim.lr=1e-9")
    assert "kept and reordered: its labels were positive, negative." in capsys.readouterr().out
    assert (one.provenance.model.head, two.provenance.model.head) == ("kept", "reordered")
    assert one.metrics.report == two.metrics.report and one.metrics.selection == two.metrics.selection
    # A merged run carries its labels and its task: its head is kept when it is trained again.
    assert run_command(["merge", f"results_other/runs/{two.run_id}", "--out", "merged"]) == 0
    again = run_on(Path("merged"), "task=sst2", "optim.lr=1e-9")
    assert again.provenance.model.head == "kept"
    assert again.metrics.report == two.metrics.report


def test_predict_answers_a_row_alike_alone_and_beside_a_longer_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = model_folder(Path("m"), "tiny_llama")
    edit(folder / "config.json", pad_token_id=7)
    record = run_on(folder, "task=stsb")
    assert any(note.startswith("Padding is the tokenizer's token 0") for note in record.provenance.notes)
    assert record.provenance.model.head == "new"
    pair = {"sentence1": "a good film", "sentence2": "yes"}
    long = {"sentence1": "no " * 40, "sentence2": "yes"}
    answers = []
    for name, rows in (("alone", [pair]), ("beside", [long, pair])):
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        assert (
            run_command(["predict", f"results_m/runs/{record.run_id}", f"{name}.jsonl", "--out", "out.tsv"])
            == 0
        )
        answers.append(Path("out.tsv").read_text().split()[-1])
    assert answers[0] == answers[1]


def test_cut_rows_are_counted_and_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    folder = model_folder(Path("t5"), "tiny_t5", AutoModelForSeq2SeqLM)
    record = run_on(folder, "task.max_length=20")
    cut, rows = record.provenance.cut_rows, record.provenance.rows
    assert set(cut) == {"train", "selection", "report/validation"}
    assert 0 < cut["train"] <= rows["train"]
    said = capsys.readouterr().err
    share = f"{cut['train']} of {rows['train']} rows ({cut['train'] / rows['train']:.1%})"
    assert f"warning: rte, train: {share} are longer than task.max_length=20 and were cut" in said
    assert record.provenance.model.head is None
    whole = run_on(model_folder(Path("t5_whole"), "tiny_t5", AutoModelForSeq2SeqLM), "task.max_length=128")
    assert set(whole.provenance.cut_rows.values()) == {0}
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("adapter", "length", "message"),
    [
        ("krona", 25, "got 25, but '[^']*m' has 24 positions. Legal here: at most 24."),
        (
            "prompt_tuning",
            10,
            "got 10 and 20 learned vectors before them, but '[^']*m' has 24 positions. .* at most 4.",
        ),
        ("peft/prompt", 10, "learned vectors before them, but '[^']*m' has 24 positions"),
    ],
)
def test_a_row_too_long_is_found_in_the_plan(
    adapter: str, length: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model_folder(Path("m"), "tiny_bert", made={"max_position_embeddings": 24})
    (folder / "model.safetensors").unlink()  # no weights are needed to know it
    said = refused(capsys, folder, f"adapter={adapter}", f"task.max_length={length}")
    assert re.search(message, said), said


def test_a_length_beyond_what_a_rotary_model_was_made_for_is_a_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        "train",
        "adapter=krona",
        "task=rte",
        "model=tiny_llama",
        "data=toy",
        "task.max_length=100000",
    ]
    assert run_command([*arguments, "plan=true"]) == 0
    assert re.search(r"task.max_length=100000: 'tiny_llama' was made for \d+ tokens", capsys.readouterr().out)


def test_nothing_is_left_of_a_run_that_its_model_cannot_take(capsys: pytest.CaptureFixture[str]) -> None:
    gone = model_folder(
        Path("gone"), "tiny_bert", change=lambda t: {k: t[k] for k in t if "position" not in k}
    )
    assert "missing (bert.embeddings.position_embeddings.weight (512, 32))" in refused(capsys, gone)
    assert "got 2, which leaves no room" in refused(
        capsys, model_folder(Path("m"), "tiny_bert"), "task.max_length=2"
    )
    assert "model.tokenizer: 'nosuch' is not in the local cache" in refused(
        capsys, Path("m"), "model.tokenizer=nosuch"
    )
