"""Bad input, surface by surface: config, command line, adapter folder. What is wrong is named, nothing else happens."""

import copy
import json
import re
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import UserError
from petbench.tuned.checkpoint import read_adapter_config, write_adapter_config
from petbench.tuned.load import load_run

NAN, INF = float("nan"), float("inf")


@cache
def _values() -> dict[str, Any]:
    (member,) = expand(["adapter=lora", "task=rte", "model=tiny_bert", "data=toy"])
    return member.values


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good config with one value put in."""
    values = copy.deepcopy(_values())
    *parents, leaf = path.split(".")
    place = values
    for key in parents:
        place = place[key]
    place[leaf] = value
    return values


WHOLE = [
    "trainer.batch_size", "trainer.gradient_accumulation", "trainer.eval_batch_size", "trainer.log_every",
    "trainer.max_steps", "trainer.threads", "task.max_length", "task.train_examples", "task.sample_seed",
    "data.max_train_examples", "data.toy_train", "data.toy_validation", "protocol.split_seed",
    "protocol.selection_max", "optim.warmup_steps", "budget.params", "adapter.rank",
]  # fmt: skip
REAL = [
    "trainer.epochs", "trainer.clip_norm", "optim.lr", "optim.weight_decay", "optim.warmup_ratio", "optim.beta1",
    "optim.beta2", "optim.eps", "protocol.selection_fraction", "budget.percent", "adapter.alpha", "adapter.dropout",
]  # fmt: skip
CHOICES = [
    "trainer.precision", "trainer.device", "trainer.select", "trainer.progress", "optim.schedule", "eval.decode",
    "logger.name", "logger.mode", "data.source", "protocol.name", "task.form", "task.wording", "task.stsb_step",
    "model.weights", "model.attn",
]  # fmt: skip
TRUTHS = [
    "trainer.gradient_checkpointing", "trainer.bucket", "trainer.deterministic", "trainer.keep_resume_state",
    "data.allow_partial", "logger.artifact", "logger.pictures", "plan", "retry", "adapter.train_norms",
]  # fmt: skip
NUMBER = r"(got|holds) .*Legal: "
CONFIG = [(path, value, NUMBER) for path in WHOLE for value in (-1, 1.5, NAN, "many", True, [1, 2])]
CONFIG += [(path, value, NUMBER) for path in REAL for value in (-1, NAN, INF, "much", True, {"a": 1})]
CONFIG += [(path, value, r"got .*Legal: ") for path in CHOICES for value in ("nothing like it", 7)]
CONFIG += [(path, value, r"got .*Legal: true or false") for path in TRUTHS for value in ("perhaps", 2.5)]
CONFIG += [
    (f"{part}.nonsense" if part else "nonsense", 1, r"nonsense: unknown key")
    for part in (
        "",
        "model",
        "adapter",
        "task",
        "data",
        "protocol",
        "trainer",
        "optim",
        "eval",
        "logger",
        "budget",
    )
]
CONFIG += [
    (part, value, rf"{part}")
    for part in ("trainer", "optim", "task", "data", "adapter", "model")
    for value in (3, "x", [1])
]


def test_the_table_of_the_config_is_long_enough() -> None:
    assert len(CONFIG) >= 200


@pytest.mark.parametrize(("path", "value", "said"), CONFIG, ids=[f"{p}={v!r}" for p, v, _ in CONFIG])
def test_a_value_that_cannot_be_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse(changed(path, value), spec_of)
    assert path.rpartition(".")[2] in str(caught.value) or path.partition(".")[0] in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


# Words of a command, and what it says with exit 2.
COMMANDS: list[tuple[list[str], str]] = [
    (["trian"], r"command: 'trian' is unknown\. Did you mean 'train'\?"),
    (["train", "adapter"], r"cannot read 'adapter'|adapter"),
    (["train", "=1"], r"Config group override must be a string"),
    (["train", "seed="], r"seed"),
    (["train", "adapter=[lora"], r"adapter: '\[lora' is unknown"),
    (["train", "task=rte", "data=toy", "results_dir="], r"results_dir"),
    (["train", "task=rte", "data=toy", "init_from=nowhere"], r"no trained run at 'nowhere'"),
    (["train", "recipe=nowhere"], r"recipe: 'nowhere' is unknown"),
    (["train", "sweep=nowhere"], r"sweep: 'nowhere' is unknown"),
    (["train", "--config-dir", "nowhere"], r"nowhere"),
    (["params", "adapter=lora", "adapter.rank=0"], r"adapter\.rank: got 0"),
    (["params", "model=nowhere"], r"model: 'nowhere' is unknown"),
    (["list", "everything"], r"everything"),
    (["list"], r"petbench list"),
    (["report", "nowhere"], r"no records in nowhere/runs"),
    (["report", "--where", "task"], r"'task' is not a condition"),
    (["report", "--wandb", "a b?"], r"--wandb"),
    (["compare"], r"petbench compare"),
    (["compare", "a", "b", "--results-dir", "nowhere"], r"nowhere"),
    (["power"], r"no records in results/runs"),
    (["power", "task=rte", "seeds=none"], r"seeds"),
    (["reproduce"], r"recipe"),
    (["reproduce", "recipe=nowhere"], r"recipe: 'nowhere' is unknown"),
    (["submit"], r"no runs named"),
    (["submit", "nowhere", "--out", "a.zip"], r"nowhere"),
    (["predict"], r"petbench predict"),
    (["predict", "nowhere", "rows.tsv"], r"rows\.tsv|no trained run"),
    (["predict", "nowhere", "rows.tsv", "--out", "labels.exe"], r"--out: ending '\.exe'|rows\.tsv"),
    (["predict", "nowhere", "rows.tsv", "--batch-size", "0"], r"--batch-size: got '0'"),
    (["predict", "nowhere", "rows.tsv", "--device", "tpu"], r"--device"),
    (["merge", "nowhere", "--out", "out"], r"no trained run at 'nowhere'"),
    (["merge", "nowhere"], r"--out"),
    (["export", "nowhere", "--out", "out", "--max-rank", "1.5"], r"--max-rank: got '1\.5'"),
    (["export", "nowhere", "--out", "out", "--to", "gguf"], r"--to"),
    (["bench", "--what", "nothing"], r"--what|nothing"),
    (["data"], r"petbench data"),
    (["data", "check", "nowhere"], r"nowhere is not a folder"),
    (["data", "burn", "x"], r"burn"),
    (["conformance"], r"petbench conformance"),
    (["conformance", "nowhere"], r"'nowhere' is unknown"),
    (["sync", "nowhere"], r"nowhere"),
    (["doctor", "--everything"], r"--everything"),
    (["train", "logger.tags=[${oc.env:HF_TOKEN}]"], r"HF_TOKEN is named like a secret"),
    (["train", "adapter.name=${oc.env:MY_API_KEY,none}"], r"MY_API_KEY is named like a secret"),
    (["train", "logger.group=${oc.env:DB_PASSWORD}"], r"DB_PASSWORD is named like a secret"),
    (["train", "logger.group=hunter2-hunter2"], r"logger\.group: holds the value of DB_PASSWORD"),
    (["train", "adapter.name=hunter2-hunter2!"], r"adapter\.name: holds the value of DB_PASSWORD"),
    (["train", "results_dir=out/hunter2-hunter2"], r"results_dir: holds the value of DB_PASSWORD"),
]


@pytest.mark.parametrize(("words", "said"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_command_that_cannot_be_is_exit_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "hunter2-hunter2")
    assert run_command(words) == 2
    error = capsys.readouterr().err
    assert re.search("^error: ", error, re.MULTILINE), error  # a first line may stand before
    assert re.search(said, error), error
    assert "Traceback" not in error and "bug" not in error and "hunter2" not in error
    assert not list(tmp_path.iterdir())


# Small on the command line or the disk, without end when taken at its word.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=toy", "data.toy_train=1e11"], r"data\.toy_train: got .*Legal: less than or equal to 1000000"),
        (["-m", "data=toy", "seed=range(1000000)"], r"seed: the sweep has more than 10,000 members"),
        (
            ["-m", "data=toy", "seed=range(200)", "trainer.batch_size=range(1,200)"],
            r"more than 10,000 members",
        ),
        (
            ["data=toy", "++model.known.config.num_hidden_layers=1000000"],
            r"num_hidden_layers is 1000000\. Legal: 1 to",
        ),
        (["data=toy", "++model.known.config.vocab_size=100000000000"], r"vocab_size is 1"),
        (
            ["data=toy", "--config-dir", "conf", "+bomb=bomb"],
            r"bomb\.yaml: holds .* values when its anchors \(&\) are written out",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_never_end_has_a_bound(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf/bomb").mkdir(parents=True)
    Path("conf/bomb/bomb.yaml").write_text(BOMB)
    began = time.monotonic()
    assert run_command(["train", "task=rte", "model=tiny_bert", *words]) == 2
    assert time.monotonic() - began < 60
    assert re.search(said, capsys.readouterr().err)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-step run of lora on the tiny BERT."""
    results = tmp_path_factory.mktemp("results")
    small = ["data.toy_train=16", "data.toy_validation=8", "trainer.max_steps=2", "trainer.progress=off"]
    words = ["adapter=lora", "task=rte", "model=tiny_bert", "data=toy"]
    assert run_command(["train", *words, *small, "logger=none", f"results_dir={results}"]) == 0
    (folder,) = (results / "runs").iterdir()
    return folder


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, leaf = path.split(".")
        place = config
        for key in parents:
            place = place[key]
        place[leaf] = value

    return change


# A foreign adapter's config: well formed, signed, and not to be believed.
FOREIGN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no config": (lambda config: config.pop("config"), "holds no config"),
    "a list for a config": (put("config", []), "holds no config|problem"),
    "an unknown method": (put("config.adapter.method", "nothing"), "nothing"),
    "another method": (
        put("config.adapter", {"method": "krona"}),
        "describes .* trained values|missing|does not fit",
    ),
    "a rank without bound": (put("config.adapter.rank", 10**9), "rank|describes"),
    "a larger rank": (put("config.adapter.rank", 16), "describes .* trained values, but"),
    "a smaller rank": (put("config.adapter.rank", 1), "does not fit"),
    "an unknown key": (put("config.adapter.code", "import os"), "unknown key"),
    "an unknown section": (put("config.hooks", {}), "hooks: unknown key"),
    "an unknown task": (put("config.task.metrics", ["nothing"]), "nothing"),
    "another task": (put("config.task.labels", ["a", "b", "c"]), "describes|does not fit"),
    "a model of a folder that is not there": (
        put("config.model", {"name": "/nowhere/model"}),
        "no folder|not there",
    ),
    "a model with a million layers": (
        put("config.model.known.config.num_hidden_layers", 10**6),
        "num_hidden_layers",
    ),
    "a model of another size": (
        put("config.model.known.config.hidden_size", 64),
        "another backbone|other weights",
    ),
    "code beside the model": (
        put("config.model.known.config.auto_map", {"AutoConfig": "a--b.C"}),
        "auto_map",
    ),
    "no such model type": (put("config.model.known.config.model_type", "nothing"), "nothing"),
    "NaN for a rate": (put("config.optim.lr", "nan"), "optim.lr"),
    "another digest of the weights": (put("weights_sha256", "0" * 64), "not the file that was saved"),
    "another backbone": (put("backbone_digest", "0" * 64), "other weights|another backbone"),
    "another schema": (put("schema_version", 99), "has schema 99"),
    "a schema of text": (put("schema_version", "1"), "has schema 1"),
}


WITHOUT_CONTENT = ("a model with a million layers", "code beside the model", "no such model type")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_adapter_is_refused_in_words(name: str, run: Path, tmp_path: Path) -> None:
    change, said = FOREIGN[name]
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    config = read_adapter_config(tmp_path / "adapter")
    change(config)
    if name in WITHOUT_CONTENT:
        del config["content"]  # whoever writes such a config leaves its digests out
    write_adapter_config(tmp_path / "adapter" / "adapter_config.json", config)
    with pytest.raises(UserError, match=said):
        load_run(tmp_path / "adapter")


def test_a_foreign_adapter_sets_nothing_of_this_machine(run: Path, tmp_path: Path) -> None:
    """Folders, threads, devices and loggers are of whoever loads."""
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    config = read_adapter_config(tmp_path / "adapter")
    for path, value in {
        "config.results_dir": "/etc", "config.cache_dir": "/root", "config.data.dir": "/home",
        "config.init_from": "/root/run", "config.trainer.threads": 10_000, "config.trainer.device": "cuda",
        "config.logger.name": "wandb", "config.logger.mode": "online",
    }.items():  # fmt: skip
        put(path, value)(config)
    write_adapter_config(tmp_path / "adapter" / "adapter_config.json", config)
    spec = load_run(tmp_path / "adapter", tmp_path).spec
    assert (spec.results_dir, spec.cache_dir, spec.data.dir, spec.init_from) == (
        str(tmp_path),
        None,
        None,
        None,
    )
    assert (spec.trainer.threads, spec.trainer.device) == (None, "auto")
    assert (spec.logger.name, spec.logger.mode) == ("none", "disabled")


def test_what_is_published_names_no_folder_of_the_machine(run: Path, tmp_path: Path) -> None:
    from petbench.tuned.checkpoint import publish

    saved = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert (saved["config"]["results_dir"], saved["config"]["data"]["dir"]) == ("results", None)
    put("config.model.name", "/home/me/models/mine")(saved)
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    write_adapter_config(tmp_path / "adapter" / "adapter_config.json", saved)
    publish(tmp_path / "adapter", tmp_path / "public")
    text = (tmp_path / "public" / "adapter_config.json").read_text()
    assert "/home" not in text and str(tmp_path) not in text
    assert read_adapter_config(tmp_path / "public")["config"]["model"]["name"] == "mine"
    assert (tmp_path / "public/adapter.safetensors").read_bytes() == (
        run / "adapter/adapter.safetensors"
    ).read_bytes()


def test_a_secret_in_an_error_reaches_no_record_and_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_TOKEN", "hf_abcdefgh")

    def broken(*arguments: Any, **keywords: Any) -> None:
        raise OSError("401 for url https://hub?token=hf_abcdefgh&x")

    monkeypatch.setattr("petbench.training.session.load_and_attach", broken)
    words = ["train", "adapter=lora", "task=rte", "model=tiny_bert", "data=toy", "cache_dir=cache"]
    assert run_command(words) == 1
    said = capsys.readouterr()
    assert "token=<HUB_TOKEN>&x" in said.err
    kept = [path for path in Path("results").rglob("*") if path.is_file()]
    assert {"record.json", "error.txt"} <= {path.name for path in kept}
    assert not [path for path in kept if b"hf_abcdefgh" in path.read_bytes()]
    assert "hf_abcdefgh" not in said.err + said.out


LINKED = [
    "adapter",
    "predictions",
    "metrics.jsonl",
    "config.yaml",
    "record.json",
    "resume.safetensors",
    "mine",
]


@pytest.mark.parametrize("name", LINKED)
def test_nothing_is_written_or_deleted_through_a_link(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "adapter=lora", "task=rte", "model=tiny_bert", "data=toy", "trainer.max_steps=1"]
    run_id = json.loads(_planned([*words, "cache_dir=cache"], capsys))
    home = Path("home")
    (home / "sub").mkdir(parents=True)
    for file in (".bashrc", "metrics.jsonl", "adapter.safetensors", ".record.json.half-12345678"):
        (home / file).write_text("precious")
    folder = Path("results/runs") / run_id
    folder.mkdir(parents=True)
    target = home.absolute() if "." not in name else (home / "metrics.jsonl").absolute()
    (folder / name).symlink_to(target)
    assert run_command([*words, "cache_dir=cache"]) == 2
    error = capsys.readouterr().err
    assert "is a symbolic link" in error or "is not a petbench record" in error
    assert {path.name: path.read_text() for path in home.iterdir() if path.is_file()} == dict.fromkeys(
        (".bashrc", "metrics.jsonl", "adapter.safetensors", ".record.json.half-12345678"), "precious"
    )
    assert (folder / name).is_symlink()


def _planned(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The id of the run, as JSON text."""
    from petbench.training.prepare import prepare

    (member,) = expand(words[1:])
    return json.dumps(prepare(parse(member.values, spec_of)).run_id)
