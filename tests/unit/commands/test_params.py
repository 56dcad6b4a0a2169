"""`petbench params` keeps what it counted: the same as counted on the model, and only where values alone decide it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import petbench
import petbench.training.plan
from petbench.cli import run_command
from petbench.commands import counted
from petbench.tasks.encode.token_cache import ENV_DIR

Shown = Callable[..., Any]
KRONA = ("adapter=krona", "model=tiny_bert")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    """What `petbench params … --json` prints, with an empty cache."""
    monkeypatch.setenv(ENV_DIR, str(tmp_path))

    def call(*words: str) -> Any:
        assert run_command(["params", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def not_counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After a call of it, a model that is built to count on fails the test."""

    def build(*_: object) -> None:
        raise AssertionError("counted again")

    return lambda: monkeypatch.setattr(petbench.training.plan, "plan", build)


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2", "tiny_deberta"])
def test_every_method_is_recalled_as_it_was_counted(
    model: str, monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    """The members that are possible on the model; those that are not are refused again."""
    words = ("adapter=glob(*)", f"model={model}")
    first = shown(*words)
    assert len(first) > 20
    real, asked = petbench.training.plan.plan, []
    monkeypatch.setattr(
        petbench.training.plan, "plan", lambda spec: asked.append(spec.adapter.label) or real(spec)
    )
    assert shown(*words) == first
    assert not {row["adapter"] for row in first} & set(asked)


def test_the_table_with_its_notes_and_printed_percent_is_the_same(
    shown: Shown, not_counted: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    del shown  # its cache
    for words in (
        ["model=t5_base", "adapter=krona"],
        ["model=tiny_bert", "adapter=lora", "budget.params=500"],
    ):
        assert run_command(["params", *words]) == 0
    first = capsys.readouterr().out
    assert "paper prints %" in first
    assert "budget" in first
    not_counted()
    for words in (
        ["model=t5_base", "adapter=krona"],
        ["model=tiny_bert", "adapter=lora", "budget.params=500"],
    ):
        assert run_command(["params", *words]) == 0
    assert capsys.readouterr().out == first


def test_the_second_call_loads_neither_torch_nor_transformers(shown: Shown) -> None:
    first = shown(*KRONA)
    code = (
        "import sys\nfrom petbench.cli import run_command\n"
        f"assert run_command(['params', *{KRONA!r}, '--json']) == 0\n"
        "print({'torch', 'transformers', 'peft'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout) == first
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize(
    "change",
    ["adapter.factor_shape=[4,8]", "task=mnli", "task.form=head", "budget.params=2000", "model=tiny_t5"],
)
def test_another_value_is_counted_anew(change: str, shown: Shown, not_counted: Callable[[], None]) -> None:
    shown(*KRONA)
    not_counted()
    assert run_command(["params", *KRONA[: 1 if change.startswith("model") else 2], change]) == 1


def test_other_code_or_libraries_count_anew(
    shown: Shown, not_counted: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown(*KRONA)
    (before,) = (tmp_path / "counts").iterdir()
    monkeypatch.setattr(counted, "_versions", lambda: {"torch": "99"})
    counted._state.cache_clear()
    try:
        shown(*KRONA)
        (after,) = (tmp_path / "counts").iterdir()  # what no call can use any more is gone
        assert after != before
    finally:
        counted._state.cache_clear()


def test_a_models_folder_and_own_rows_are_read_each_time(
    shown: Shown, tmp_path: Path, not_counted: Callable[[], None]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"word {n},{'ab'[n % 2]}\n" for n in range(40)))
    assert shown("adapter=krona", "model=tiny_bert", f"data.file={rows}")["params"]["head"] == 66
    rows.write_text("text,label\n" + "".join(f"word {n},{'abc'[n % 3]}\n" for n in range(60)))
    assert shown("adapter=krona", "model=tiny_bert", f"data.file={rows}")["params"]["head"] == 99
    assert not (tmp_path / "counts").exists()


def test_another_packages_method_is_not_kept(tmp_path: Path) -> None:
    memory = counted.Memory(str(tmp_path))
    values = {"model": {"name": "m", "known": {"name": "m"}}, "data": {"file": None, "hub": None}}
    params = {"tuned": 1, "adapter": 1, "norm": 0, "other": 0, "head": 2, "trainable": 3, "backbone": 100}
    row = counted.Counted.model_validate(
        {
            "model": "m", "adapter": "gain", "method": "gain", "mergeable": False, "bytes": 12, "notes": [],
            "params": {**params, "tuned_percent": 1.0, "trainable_percent": 3.0},
        }
    )  # fmt: skip
    memory.take(values, row, "petbench_gain")
    assert memory.recall(values) is None
    memory.take(values, row, "petbench.adapters.methods.lora")
    assert memory.recall(values) == row


@pytest.mark.parametrize("text", ["", "[]", '{"{key}": {"params": 3}}', "\x00"])
def test_a_broken_file_is_made_anew(text: str, shown: Shown, tmp_path: Path) -> None:
    first = shown(*KRONA)
    (file,) = (tmp_path / "counts").iterdir()
    (key,) = json.loads(file.read_text())
    file.write_text(text.replace("{key}", key))
    assert shown(*KRONA) == first
    assert list(json.loads(file.read_text())) == [key]


def test_a_cache_that_cannot_be_written_only_costs_time(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(ENV_DIR, str(tmp_path / "file"))
    assert shown(*KRONA)["params"]["trainable"] > 0
