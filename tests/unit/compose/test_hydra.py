"""Every YAML composes, parses and plans; Hydra's flags, completion and config folders work as they should."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.compose.hydra import forgiving, search_path_override
from petbench.config.spec import RunSpec, parse
from petbench.config.tree import conf_dir, option_path, options
from petbench.errors import UserError
from petbench.training.plan import plan

TINY = ("tiny_bert", "tiny_t5", "tiny_gpt2")
GROUPS = ("adapter", "data", "logger", "model", "protocol", "task", "trainer")  # recipes: test_recipes.py
PETBENCH = [sys.executable, "-c", "from petbench.cli import main; main()"]
WITHOUT_HEAVY = [
    sys.executable,
    "-c",
    "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\nfrom petbench.cli import main; main()",
]
OWN = """# My krona: larger s.
# petbench train adapter=mine task=rte
method: krona
name: mine
scale: 7
tuning:
  lr: 1.0e-3
"""


def specs(*overrides: str) -> list[RunSpec]:
    return [parse(member.values, spec_of) for member in expand(overrides)]


@cache
def all_of(group: str, *overrides: str) -> dict[str, RunSpec]:
    """Every choice of a group by its name, composed in one go."""
    names = options(group)
    members = expand([f"{group}={','.join(names)}", *overrides])
    return {name: parse(member.values, spec_of) for name, member in zip(names, members, strict=True)}


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_composes_and_parses(group: str) -> None:
    found = all_of(group)
    assert list(found) == options(group)
    for name, spec in found.items():
        if group == "adapter":
            assert spec.adapter.label == name  # what tables call it is what was asked for
        if group == "task":
            assert spec.task.name == name.replace("/", "_")
        if group == "model":
            assert spec.model.label == name
        if group == "data":
            assert spec.data.source == name


@pytest.mark.parametrize("name", options("sweep"))
def test_every_sweep_composes(name: str) -> None:
    assert expand([f"sweep={name}", "adapter=krona", "task=rte", "seed=0"])


@pytest.mark.parametrize("name", options("adapter"))
def test_every_adapter_plans_on_a_tiny_model(name: str) -> None:
    refused: dict[str, str] = {}
    for model in TINY:
        try:
            params = plan(all_of("adapter", f"model={model}")[name]).params
        except UserError as error:
            refused[model] = str(error)
            continue
        assert params.trainable == params.adapter + params.head + params.norm + params.other > 0
        break
    else:
        assert name == "peft/custom", refused  # it has no PEFT type of its own
    for message in refused.values():
        assert 1 <= len(message.splitlines()) <= 2, message
        assert len(message) > 20


@pytest.mark.parametrize("name", [n for n in options("model") if "large" not in n])
def test_every_model_plans_on_the_meta_device(name: str) -> None:
    _check_model(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in options("model") if "large" in n])
def test_every_large_model_plans_on_the_meta_device(name: str) -> None:
    _check_model(name)


def _check_model(name: str) -> None:
    params = plan(all_of("model", "adapter=krona")[name]).params
    assert params.adapter > 0
    assert params.backbone > 100 * params.adapter or name.startswith("tiny")


def test_forgiving_prefixes_values_and_nothing_else() -> None:
    argv = ["adapter=krona", "adapter/peft=lora", "adapter.rank=4", "seed=1", "+new.key=1", "~logger.name"]
    argv += [
        "++seed=2",
        "hydra.verbose=true",
        "hydra/launcher=basic",
        "-m",
        "--cfg=job",
        "model@other=minilm",
    ]
    assert forgiving(argv) == [
        "adapter=krona",
        "adapter/peft=lora",
        "++adapter.rank=4",
        "++seed=1",
        "+new.key=1",
        "~logger.name",
        "++seed=2",
        "hydra.verbose=true",
        "hydra/launcher=basic",
        "-m",
        "--cfg=job",
        "model@other=minilm",
    ]


def test_a_value_with_an_equals_sign_stays_whole() -> None:
    (spec,) = specs("logger.project='a=b'")
    assert spec.logger.project == "a=b"


def test_every_tuned_learning_rate_reaches_the_optimiser() -> None:
    """The method's own rate is the default, and optim.lr overrides it."""
    assert specs("adapter=krona")[0].optim.lr == 5e-3
    assert specs("adapter=full")[0].optim.lr == 5e-5
    assert specs("adapter=full", "optim.lr=1e-3")[0].optim.lr == 1e-3


def test_an_unknown_choice_names_the_nearest() -> None:
    for override, near in {"adapter=kronna": "krona", "task=sst": "sst2", "model=t5base": "t5_base"}.items():
        with pytest.raises(UserError, match=f"Did you mean '{near}'"):
            expand([override])
    with pytest.raises(UserError, match=r"adapter: 'kronna' is unknown\. Did you mean 'krona'\?"):
        option_path("adapter", "kronna")


@pytest.mark.parametrize("broken", ["adapter=lora,", "adapter.factor_shape=[1,2", "adapter"])
def test_broken_syntax_quotes_the_argument(broken: str) -> None:
    with pytest.raises(UserError) as caught:
        expand([broken])
    assert f"cannot read '{broken}'" in str(caught.value)
    assert "key=value" in str(caught.value)


def test_members_multiply_out_in_the_order_of_the_command() -> None:
    found = specs("adapter=krona,lora", "seed=0,1")
    assert [(s.adapter.method, s.seed) for s in found] == [
        ("krona", 0),
        ("krona", 1),
        ("lora", 0),
        ("lora", 1),
    ]


def test_glob_takes_every_adapter_outside_folders() -> None:
    found = {spec.adapter.label for spec in specs("adapter=glob(*)")}
    assert found == {name for name in options("adapter") if "/" not in name}


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    (tmp_path / "conf/adapter").mkdir(parents=True)
    (tmp_path / "conf/adapter/mine.yaml").write_text(OWN, encoding="utf-8")
    return tmp_path / "conf"


def test_a_folder_of_own_choices_works_for_train_and_params(
    own_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_folder.parent)
    words = ["adapter=mine", "model=tiny_bert", "--config-dir", str(own_folder)]
    assert run_command(["params", *words, "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["adapter"], counted["params"]["adapter"]) == ("mine", 256)
    assert run_command(["train", *words, "task=rte", "data=toy", "plan=true"]) == 0
    assert "Plan: mine on tiny_bert" in capsys.readouterr().out
    assert run_command(["train", "-m", *words, "task=rte,mrpc", "data=toy", "plan=true"]) == 0
    assert "Plan: 2 runs" in capsys.readouterr().out
    assert run_command(["train", "adapter=mine", "model=tiny_bert", "plan=true"]) == 2
    assert "adapter: 'mine' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]], ids=" ".join)
def test_train_takes_a_cell_of_a_recipe_of_ones_own(
    flag: list[str], own_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_folder.parent)
    (own_folder / "recipe").mkdir()
    table = "{adapter: [lora], task: [rte], settings: [{adapter.rank: 3, adapter.alpha: 3.0}]}"
    (own_folder / "recipe/own.yaml").write_text(f"# @package _global_\nrecipe: own\ntable: {table}\n")
    words = ["recipe=own", "adapter=lora", "model=tiny_bert", "data=toy", "plan=true"]
    assert run_command(["train", *words, *(part.format(own_folder) for part in flag)]) == 0
    assert f"{2 * 2 * 3 * (32 + 32):,} " in capsys.readouterr().out  # two roles, two layers, rank 3, width 32


def test_outside_folders_join_the_search_path_once(own_folder: Path) -> None:
    assert search_path_override([], str(own_folder)) == [f"hydra.searchpath=['file://{own_folder}']"]
    assert search_path_override(["hydra.searchpath=[x]"], str(own_folder)) == []


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--cfg", "job"], "method: krona"),
        (["--cfg", "job", "--package", "optim"], "warmup_ratio: 0.06"),
        (["--cfg", "hydra"], "job_logging"),
        (["--help"], "examples"),
        (["--config-dir", ".", "--cfg", "job"], "method: krona"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_hydras_flags_show_without_running(
    flags: list[str],
    shown: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = run_command(["train", "adapter=krona", *flags, "task=rte"])  # flags may stand anywhere
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 0
    assert shown in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_info_shows_the_search_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [*WITHOUT_HEAVY, "train", "--info", "searchpath", "adapter=krona"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"file://{conf_dir()}" in done.stdout


def _complete(line: str) -> list[str]:
    """What the shell's hook gets after TAB, with torch and transformers out of reach."""
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(
        [*WITHOUT_HEAVY, "-sc", "query=bash"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_completion_offers_commands_then_choices() -> None:
    assert {"train", "params", "report"} <= set(_complete("petbench "))
    assert _complete("petbench tr") == ["train"]
    assert "adapter=krona" in _complete("petbench train adapter=kr")
    assert "task=rte" in _complete("petbench train adapter=krona task=r")
    assert "adapter.factor_shape=" in _complete("petbench train adapter=krona adapter.fac")


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "adapters"], ["train", "--help"], ["train", "--cfg", "job"], ["--version"]]
)
def test_looking_imports_neither_torch_nor_transformers(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*WITHOUT_HEAVY, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_tree_that_ships_is_the_one_at_the_top() -> None:
    assert conf_dir() == Path(__file__).resolve().parents[3] / "conf"
    assert (conf_dir() / "config.yaml").is_file()
