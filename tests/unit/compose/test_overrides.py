"""Values as they stand on the command line: what Hydra reads stays, other text is quoted, a key has one value."""

from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.compose.hydra import forgiving
from petbench.compose.overrides import TEXT_KEYS, apart, readable, require_once
from petbench.config.paths import PATH_KEYS
from petbench.config.spec import RunSpec, parse
from petbench.errors import UserError

TEXTS = [
    "lr=1e-3", "a=b=c", "res (1)", "res(1)", "res [1]", "it's", 'say "x"', "übung", "日本", "a🙂b", "a b", "a;b", "a&b",
    "a#b", "a!b", "a<b>", "a^b", "a`b", "a{b", "{x}", "[1]", "[a]", "(1)", "a\\b", "a\\", "x\\'y", "a|b", "a%b", "a@b",
    "true", "2024", "007", "1e3", "nan", "~tilde~", "a~", "*", "a:b", "-x", "./a", "a$b", "$USER", "res (1)/it's=ü",
]  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def spec(*overrides: str) -> RunSpec:
    (member,) = expand(["model=tiny_bert", *overrides])
    return parse(member.values, spec_of)


@pytest.mark.parametrize("text", TEXTS)
def test_a_path_is_the_text_that_stands_there(text: str) -> None:
    start = "here/" if text.startswith("~") else ""
    assert spec(f"results_dir={start}{text}").results_dir == f"{start}{text}"


@pytest.mark.parametrize(
    "text", ["lr=1e-3", "res (1)", "it's", "übung", "a;b", "~x", "[a", "{a", "a!b", "a<b>"]
)
def test_other_text_works_too_where_hydra_cannot_read_it(text: str) -> None:
    assert spec(f"logger.group={text}").logger.group == text
    assert spec(f"++logger.group={text}").logger.group == text


@pytest.mark.parametrize("key", PATH_KEYS)
def test_a_tilde_is_the_home_folder_in_every_path(key: str, home: Path) -> None:
    for text in ("~/a", '"~/a"', "'~/a'"):
        found: Any = spec(f"{key}={text}")
        for part in key.split("."):
            found = getattr(found, part)
        assert found == str(home / "a")
    with pytest.raises(UserError, match=f"{key}: there is no home folder ~nobody_of_that_name"):
        spec(f"{key}=~nobody_of_that_name/a")


def test_the_keys_of_texts_and_paths_are_those_of_the_config() -> None:
    def texts(model: Any, prefix: str = "") -> dict[str, bool]:
        """Every key that takes a text and nothing else -> whether `~` is expanded in it."""
        found: dict[str, bool] = {}
        for name, field in model.model_fields.items():
            whole = f"{field.annotation} {field.metadata}"
            if hasattr(field.annotation, "model_fields"):
                found |= texts(field.annotation, f"{prefix}{name}.")
            elif "str" in whole and not any(
                word in whole for word in ("Literal", "tuple", "Mapping", "dict")
            ):
                found[f"{prefix}{name}"] = "at_home" in whole
        return found

    keys = texts(RunSpec)
    assert {key for key, is_path in keys.items() if is_path} == set(PATH_KEYS)
    choices = {"adapter.method", "recipe"}  # a list or a number is a mistake there, and said
    defined = {key for key in keys if key.startswith("task.")} - {
        "task.files",
        "task.name",
    }  # a task is defined in a YAML
    assert set(keys) - choices - defined == set(TEXT_KEYS)


@pytest.mark.parametrize("text", ["[/]", "[a]", "2024", "1234567", "true", "{x}", "1e5", "a (b)=ü"])
@pytest.mark.parametrize(
    "key", ["adapter.name", "model.label", "model.revision", "logger.project", "logger.group"]
)
def test_a_name_is_the_text_that_stands_there(key: str, text: str) -> None:
    text = text.replace("/", "") if key == "logger.project" else text
    group, _, leaf = key.partition(".")
    assert getattr(getattr(spec(f"{key}={text}"), group), leaf) == text


@pytest.mark.parametrize(
    "override",
    [
        "adapter=krona", "adapter=krona,lora", "seed=0,1,2", "seed=range(3)", "adapter=glob(*)", "adapter=choice(a,b)",
        "optim.lr=1e-3", "++optim.lr=0.1", "adapter.factor_shape=[32,24]", "adapter.factor_shape=[[32,24],[16,8]]",
        "trainer.clip_norm=null", "plan=true", "trainer.max_steps=3", "logger.group='a, b'", 'logger.group="x=1"',
        "optim.lr=interval(0,1)", "logger.tags=[a,b]", "optim={lr:1}", "~trainer.clip_norm", "+x=1",
        "results_dir=a,b", "results_dir=null", "results_dir=res", "results_dir=", "hydra/launcher=joblib",
        "adapter=lora,", "adapter.factor_shape=[1,2", "optim.lr=${seed}", "results_dir=res/${seed}",
    ],
)  # fmt: skip
def test_what_hydra_reads_or_must_refuse_stays(override: str) -> None:
    assert readable(override) == override


def test_interpolations_still_work_in_text_that_is_quoted() -> None:
    assert spec("seed=3", "results_dir=res (${seed})/a=b").results_dir == "res (3)/a=b"


def test_quoting_twice_changes_nothing() -> None:
    for text in TEXTS:
        once = forgiving([f"results_dir=x{text}"])
        assert forgiving(once) == once


@pytest.mark.parametrize(
    "words",
    [
        ("optim.lr=1", "optim.lr=2"), ("optim.lr=1", "optim.lr=1"), ("optim.lr=1", "++optim.lr=2"),
        ("+x=1", "++x=2"), ("adapter=krona", "adapter=lora"), ("hydra/launcher=basic", "hydra/launcher=joblib"),
    ],
)  # fmt: skip
def test_a_key_has_one_value(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    key = words[0].lstrip("+").partition("=")[0]
    with pytest.raises(UserError, match=f"{key} is given twice: '.*' and '.*'. Leave one out."):
        require_once(["task=rte", *words])
    for command in ("train", "train -m", "params", "bench", "reproduce"):
        assert run_command([*command.split(), *words]) == 2
        assert f"{key} is given twice" in capsys.readouterr().err


def test_a_key_and_what_is_below_it_are_two() -> None:
    require_once(["task=rte", "task.name=cola", "~task.x=1", "--config-dir=a", "--config-dir=b"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "res/${USER}",
            r"results_dir: cannot be resolved: Interpolation key 'USER' not found\. Legal in \$\{…\}",
        ),
        ("${oc.env:NO_SUCH_NAME}", r"results_dir: cannot be resolved: .*'NO_SUCH_NAME' not found"),
        ("${nosuch:1}", r"results_dir: cannot be resolved: Unsupported interpolation type nosuch"),
        ("${results_dir}", r"results_dir: cannot be resolved: Recursive interpolation"),
        ("${.nope}", r"results_dir: cannot be resolved"),
        ("${adapter.nope.lr}", r"results_dir: cannot be resolved: .*'adapter\.nope\.lr' not found"),
        ("a${", r"results_dir=.*no viable alternative.*Legal in \$\{…\}"),
        ("${}", r"results_dir=.*Legal in"),
        ("${a b}", r"results_dir=.*Legal in"),
    ],
)
@pytest.mark.parametrize(
    "command", [["params"], ["train", "plan=true", "data=toy"], ["train", "-m", "seed=0,1"]]
)
def test_what_stands_for_nothing_is_said(
    command: list[str], value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert run_command([*command, "model=tiny_bert", f"results_dir={value}"]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert "bug" not in error


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("adapter.layers=last:1,all", ["adapter.layers=last:1", "adapter.layers=all"]),
        ("adapter.factor_shape=[8,8],[4,16]", ["adapter.factor_shape=[8,8]", "adapter.factor_shape=[4,16]"]),
        ("results_dir='a:b',a", ["results_dir='a:b'", "results_dir=a"]),
        ("++optim.lr=1e-3,2e-3", ["optim.lr=0.001", "optim.lr=0.002"]),
    ],
)
def test_a_swept_override_is_shown_as_it_is_written(given: str, texts: list[str]) -> None:
    members = expand(["data=toy", "model=tiny_bert", "adapter=krona", given])
    found = apart([member.overrides for member in members], without=["adapter"])
    assert list(found.values()) == [[text] for text in texts]


def test_members_that_differ_in_columns_alone_have_no_settings() -> None:
    overrides = [("adapter=krona", "seed=0", "data=toy"), ("adapter=lora", "seed=1", "data=toy")]
    assert apart(overrides, without=["adapter", "seed"]) == {overrides[0]: [], overrides[1]: []}
