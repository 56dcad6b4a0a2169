"""What a person can get wrong: one clear message, exit 2, nothing half-written."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench.cli import run_command
from petbench.training import prepare
from toy_runs import replacing

BASE = ["train", "adapter=krona", "task=rte", "model=tiny_bert", "data=toy", "trainer.max_steps=4"]
PETBENCH = [sys.executable, "-c", "from petbench.cli import main; main()"]
HEADER = "index\tsentence1\tsentence2\tlabel\n"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PETBENCH_GLUE", raising=False)
    for kept in (prepare._splits, prepare._cut):  # rows of another test's folder of the same name
        kept.cache_clear()
    torch.set_num_threads(1)


def refused(
    capsys: pytest.CaptureFixture[str], *overrides: str, lines: int = 2, results: str = "results"
) -> str:
    """The message of a command that must be refused, with nothing left behind."""
    capsys.readouterr()
    before = set(Path().rglob("*"))
    assert run_command(replacing(BASE, f"results_dir={results}", *overrides)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) <= lines, captured.err
    left = {path for path in set(Path().rglob("*")) - before if path.parts[0] != "cache"}
    assert not {path for path in left if path.is_file()}, left
    assert not list(Path(results).glob("runs/*")) if Path(results).is_dir() else True
    return captured.err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["adapter=kronna"], r"adapter: 'kronna' is unknown\. Did you mean 'krona'\? Legal: adapter_drop, "),
        (["task=rtee"], r"task: 'rtee' is unknown\. Did you mean 'rte'\? Legal: ax, cola, "),
        (["model=tiny_burt"], r"model: 'tiny_burt' is unknown\. Did you mean 'tiny_bert'\?"),
        (["trainer.epoch=3"], r"trainer\.epoch: unknown key\. Did you mean 'epochs'\?"),
        (["adapter.factorshape=[2,2]"], r"Did you mean 'factor_shape'\?"),
        (["+nothing=1"], r"nothing: unknown key\."),
        (
            ["adapter.factor_shape=[5,4]"],
            r"adapter\.factor_shape \[5, 4\] does not fit encoder layer 0 query, which is 32 by 32: "
            r"5 does not divide 32\. Legal first sizes: 1, 2, 4, 8, 16, 32\.",
        ),
        (["adapter.factor_shape=[0,4]"], r"adapter\.factor_shape: got "),
        (["adapter=lora", "adapter.rank=0"], r"adapter\.rank: got 0\. Legal: greater than or equal to 1"),
        (["adapter=lora", "adapter.rank=33"], r"rank 33 does not fit encoder layer 0 query.*32 by 32"),
        (["trainer.epochs=0"], r"trainer\.epochs: got 0\. Legal: greater than 0"),
        (["trainer.batch_size=0"], r"trainer\.batch_size: got 0"),
        (["data.toy_train=0"], r"data\.toy_train: got 0\. Legal: greater than or equal to 8"),
        (["task.train_examples=600"], r"task\.train_examples=600: rte has 461 train rows .*Legal: 1 to 461"),
        (["task=ax"], r"ax"),
        (["init_from=nowhere"], r"no trained run at 'nowhere'"),
        (["model.name=./nowhere"], r"model\.name: there is no folder \./nowhere"),
        (["data=local"], r"data=local needs a folder: give data\.dir=DIR or set PETBENCH_GLUE"),
        (["data=local", "data.dir=nowhere"], r"data\.dir=nowhere is not a folder"),
        (["adapter.targets=[query,valu]"], r"adapter\.targets: 'valu' is unknown\. Did you mean 'value'"),
        (["adapter.layers=last:3"], r"adapter\.layers: got 'last:3'.* from 1 to 2"),
        (["adapter=krona,"], r"cannot read 'adapter=krona,'"),
        (["adapter=lora", "adapter=krona"], r"adapter is given twice: 'adapter=lora' and 'adapter=krona'"),
        (["optim.lr=true"], r"optim\.lr: got true\. Legal: a number"),
        (["optim.lr=nan"], r"optim\.lr: got nan\. Legal: a finite number"),
        (["optim.lr=inf"], r"optim\.lr: got inf\. Legal: a finite number"),
        (["optim.beta1=1"], r"optim\.beta1: got 1\. Legal: less than 1"),
        (["optim.beta2=1.0"], r"optim\.beta2: got 1\.0\. Legal: less than 1"),
        (["protocol.split_seed=-1"], r"protocol\.split_seed: got -1\. Legal: greater than or equal to 0"),
        (["protocol.split_seed=4294967296"], r"protocol\.split_seed: .*Legal: less than 4294967296"),
        (["task.sample_seed=-1", "task.train_examples=50"], r"task\.sample_seed: got -1\."),
        (["trainer.max_steps=true"], r"trainer\.max_steps: got true\. Legal: a number"),
        (["seed=false"], r"seed: got false\. Legal: a number"),
        (["adapter.factor_shape=[true,4]"], r"adapter\.factor_shape: got \[True, 4\]\. Legal: a number"),
        (["trainer.threads=9999"], r"trainer\.threads: got 9999\. Legal: null or 1 to \d+"),
        (["logger.project=team/mine"], r"logger\.entity=team logger\.project=mine"),
        (["logger.entity=a#b"], r"logger\.entity: got 'a#b'\. Legal: 1 to 128 characters"),
        (["hydra/launcher=jobli"], r"hydra/launcher: 'jobli' is unknown\. Did you mean 'joblib'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_said(overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(message, refused(capsys, *overrides))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no CUDA device is visible" in refused(capsys, "trainer.device=cuda")


def test_many_mistakes_are_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(capsys, "trainer.epochs=0", "optim.lr=0", "seed=x", "what=1", lines=5)
    assert text.startswith("error: 4 problems in the config:\n")


def test_a_folder_without_the_task_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    Path("glue/cola").mkdir(parents=True)
    text = refused(capsys, "data=local", "data.dir=glue")
    assert "glue holds no folder for task=rte; there: cola." in text
    assert "petbench data fetch" in text


def tsv_folder(train: str, dev: str = "0\ta b\tc d\tentailment\n") -> None:
    """RTE as GLUE ships it."""
    Path("glue/RTE").mkdir(parents=True)
    Path("glue/RTE/train.tsv").write_text(HEADER + train, encoding="utf-8")
    Path("glue/RTE/dev.tsv").write_text(HEADER + dev, encoding="utf-8")


LOCAL = ["data=local", "data.dir=glue", "data.allow_partial=true"]


def test_a_broken_line_of_a_tsv_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    tsv_folder("0\ta b\tc d\tentailment\n1\tonly two fields\n")
    text = refused(capsys, *LOCAL)
    assert re.search(r"glue/RTE/train\.tsv, line 3: 2 tab-separated fields, expected 4", text)


def test_a_label_outside_the_range_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    tsv_folder("0\ta b\tc d\tentailment\n1\te f\tg h\tperhaps\n")
    text = refused(capsys, *LOCAL)
    assert "train.tsv, line 3" in text
    assert "perhaps" in text
    assert "entailment" in text


def test_an_empty_split_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    tsv_folder("0\ta b\tc d\tentailment\n" * 40, dev="")
    text = refused(capsys, *LOCAL)
    assert "rte validation" in text or "dev.tsv" in text
    assert re.search(r"\b(no rows|empty|0 rows)\b", text)


def test_a_missing_split_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    tsv_folder("0\ta b\tc d\tentailment\n" * 40)
    Path("glue/RTE/dev.tsv").unlink()
    text = refused(capsys, *LOCAL)
    assert "validation" in text
    assert "dev.tsv" in text


def test_a_parquet_file_cut_short_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("glue/rte").mkdir(parents=True)
    Path("glue/rte/train.parquet").write_bytes(b"PAR1 and no more")
    assert "/glue/rte/train.parquet" in refused(capsys, *LOCAL)


def made_checkpoint(folder: Path) -> None:
    """A whole tiny BERT on disk, tokenizer and all."""
    from tiny_models import backbone

    made = backbone("tiny_bert")
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _noise(path: Path) -> None:
    path.write_bytes(b"\xff" * 1000)


@pytest.mark.parametrize("damage", [_cut_in_half, _noise, Path.unlink], ids=["cut", "noise", "gone"])
def test_corrupted_weights_are_said(
    damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    made_checkpoint(Path("checkpoint"))
    damage(Path("checkpoint/model.safetensors"))
    text = refused(capsys, "model.name=./checkpoint", "model.weights=pretrained", "model.tokenizer=same")
    assert "model.name" in text
    assert "checkpoint" in text


def test_a_whole_checkpoint_is_taken() -> None:
    """The test above would pass if nothing could be loaded."""
    made_checkpoint(Path("checkpoint"))
    words = ["model.name=./checkpoint", "model.weights=pretrained", "model.tokenizer=same"]
    assert run_command([*BASE, *words]) == 0


def test_a_results_folder_that_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("not a folder")
    text = refused(capsys, results="taken")
    assert re.search(r"cannot write taken/runs: Not a directory\. .*another results_dir", text)


def limited(limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A run whose files cannot grow past a limit: what a full disk does to a writer."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*PETBENCH, *BASE, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def whole_files(folder: str = "results") -> set[str]:
    """Names of the files in the one run's folder, none of them a part that was just being written."""
    (run_folder,) = Path(folder, "runs").iterdir()
    names = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert not {name for name in names if Path(name).name.startswith(".") and name != ".claim.lock"}
    return names


@pytest.mark.parametrize("limit", [10, 2500], ids=["nothing fits", "small files fit"])
def test_a_full_disk_is_no_mistake_and_leaves_nothing_half_written(limit: int) -> None:
    """From the claim to the resume state, whatever write is the first that fails."""
    done = limited(limit, "trainer.eval_every=2")
    assert done.returncode == 1, done.stderr
    assert re.search(r"^error: cannot write .*: .*Free space or give another results_dir", done.stderr, re.M)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert ("resume.safetensors" in done.stderr) == (limit == 2500)
    left = whole_files() - {"claim.json", ".claim.lock"}
    assert left <= {"config.yaml", "metrics.jsonl", "record.json"}


def test_a_read_only_results_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("locked").mkdir(mode=0o555)
    if os.geteuid() == 0:  # root writes into read-only folders: the refusal is made up
        make = Path.mkdir

        def refuse(self: Path, *arguments: Any, **keywords: Any) -> None:
            if "locked" in self.parts:
                raise PermissionError(13, "Permission denied")
            make(self, *arguments, **keywords)

        monkeypatch.setattr(Path, "mkdir", refuse)
    text = refused(capsys, results="locked")
    assert re.search(r"cannot write locked/runs/\w+: Permission denied\. .*another results_dir", text)


@pytest.mark.parametrize("command", ["trian", "--bogus"])
def test_an_unknown_command_names_the_nearest(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([command]) == 2
    assert f"command: '{command}' is unknown" in capsys.readouterr().err


def test_debug_shows_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(replacing(BASE, "adapter=kronna", "--debug")) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("error: adapter: 'kronna' is unknown")


def test_a_bug_is_one_line_and_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petbench.commands.doctor.doctor_main", lambda argv: 1 // 0)
    assert run_command(["doctor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ZeroDivisionError: integer division or modulo by zero\nA bug in petbench")
    assert run_command(["doctor", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
