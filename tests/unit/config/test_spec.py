"""The config's door: every mistake in one message, and a run id that follows the content alone."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.sections import ModelSpec
from petbench.config.spec import NAMES_OF_CONTENT, NOT_IDENTITY, RunSpec, canonical_json, parse
from petbench.config.task import DEFINED
from petbench.errors import UserError

# Options that documents and scripts rely on (`adapter.*`: by a method that has the option).
OPTIONS = {
    "krona": "results_dir seed plan trainer.epochs trainer.max_steps trainer.batch_size trainer.precision "
    "optim.lr optim.weight_decay data.dir data.max_train_examples model.name model.weights "
    "adapter.factor_shape adapter.scale adapter.targets adapter.layers adapter.train_norms",
    "lora": "adapter.rank adapter.alpha",
    "houlsby": "adapter.reduction_factor adapter.bottleneck_dim",
    "compacter": "adapter.phm_dim",
}
# Another legal value of every leaf whose type alone does not say one.
OTHERS: dict[str, Any] = {
    "model.weights": "pretrained",
    "model.attn": "eager",
    "task.name": "mrpc",
    "task.form": "head",
    "task.wording": "t5",
    "task.stsb_step": 0.1,
    "task.text_fields": ["sentence1"],
    "task.labels": ["yes", "no"],
    "task.metrics": ["macro_f1", "accuracy"],
    "task.headline": "",
    "task.label_range": [0.0, 5.0],
    "task.scale": [0.0, 2.0],
    "task.validation": ["dev"],
    "task.test": [],
    "task.glue.labels": ["0", "1"],
    "task.glue.also": ["ax"],
    "data.text": ["a", "b"],
    "data.kind": "number",
    "data.source": "local",
    "protocol.name": "glue_dev",
    "protocol.selection_fraction": 0.2,
    "trainer.eval_every": 5,
    "trainer.select": "last",
    "trainer.precision": "bf16",
    "trainer.device": "cpu",
    "trainer.progress": "off",
    "trainer.cuda_graph": "auto",
    "optim.schedule": "constant",
    "eval.decode": "generate",
    "logger.name": "none",
    "logger.mode": "offline",
    "logger.tags": ["a"],
    "adapter.layers": "last:1",
    "adapter.targets": ["key"],
    "adapter.factor_shape": [4, 8],
    "adapter.init": "normal",
    "budget.percent": 1.0,
    "tuning": {"role": "trial"},
}


def composed(*overrides: str) -> dict[str, Any]:
    """The values of one run on the tiny model."""
    (member,) = expand(["model=tiny_bert", "data=toy", *overrides])
    return member.values


def spec(*overrides: str) -> RunSpec:
    return parse(composed(*overrides), spec_of)


def leaves(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every path of a nested config with its value; what is known of a model is one leaf."""
    for key, value in values.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping) and path != "model.known":
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def with_value(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one leaf changed."""
    key, _, rest = path.partition(".")
    inner = with_value(values[key], rest, value) if rest else value
    return {**values, key: inner}


def another(path: str, value: Any) -> Any:
    """Another legal value for a leaf."""
    if path in OTHERS:
        return OTHERS[path]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 if value else 0.25
    if value is None:
        numbers = ("max_steps", "threads", "warmup_steps", "max_train_examples", "train_examples", "params")
        return 7 if path.endswith(numbers) else "other"
    return f"{value}x"


BASE = composed("adapter=krona", "task=rte")
MADE_OF = {name: name for name in ("rows", "weights", "config", "tokenizer", "precision", "start")}
LEAVES = [path for path, _ in leaves(spec("adapter=krona", "task=rte").canonical())]


def is_identity(path: str) -> bool:
    """Whether a leaf is part of what a run is."""
    parts = tuple(path.split("."))
    left_outs = (*NOT_IDENTITY, *NAMES_OF_CONTENT)
    return not any(parts[: len(left_out)] == left_out for left_out in left_outs)


@pytest.mark.parametrize("path", [p for p in LEAVES if p not in ("adapter.method", "model.known")])
def test_every_leaf_is_identity_or_is_named_as_none(path: str) -> None:
    plain = spec("adapter=krona", "task=rte")
    values = plain.canonical()
    changed = parse(with_value(values, path, another(path, dict(leaves(values))[path])), spec_of)
    assert changed != plain or path == "task.headline"  # empty: the last of the metrics
    assert (changed.run_id(MADE_OF) != plain.run_id(MADE_OF)) is is_identity(path), path


def test_what_is_no_identity_is_the_list_that_the_design_names() -> None:
    """Where it runs, how it is shown, which worker does it: nothing that could move a score."""
    left_out = {".".join(path) for path in NOT_IDENTITY}
    assert left_out == {
        "results_dir", "cache_dir", "plan", "retry", "tuning", "logger", "adapter.name", "model.label", "model.known",
        "data.dir", "data.source", "trainer.device", "trainer.cuda_graph", "trainer.threads", "trainer.log_every",
        "trainer.progress", "trainer.keep_resume_state",
        # Rows of one's own are told by their digest, and their task by that of its definition.
        "data.file", "data.hub", "data.text", "data.label", "data.kind", *(f"task.{key}" for key in DEFINED),
    }  # fmt: skip
    named = {".".join(path) for path in NAMES_OF_CONTENT}
    assert named == {"model.name", "model.revision", "model.tokenizer", "trainer.precision", "init_from"}


@pytest.mark.parametrize("part", MADE_OF)
def test_every_part_of_the_content_is_identity(part: str) -> None:
    plain = spec("adapter=krona", "task=rte")
    assert plain.run_id(MADE_OF | {part: "other"}) != plain.run_id(MADE_OF)


def test_run_id_is_a_hash_of_content() -> None:
    plain = spec("adapter=krona", "task=rte")
    assert plain.run_id(MADE_OF) == spec("task=rte", "adapter=krona").run_id(MADE_OF)
    assert plain.run_id(MADE_OF) != plain.run_id(MADE_OF | {"rows": "other"})
    assert len(plain.run_id(MADE_OF)) == 12
    assert int(plain.run_id(MADE_OF), 16) >= 0
    assert spec("adapter=lora", "task=rte").run_id(MADE_OF) != plain.run_id(MADE_OF)


def test_numbers_written_differently_are_equal() -> None:
    """`3` and `3.0` epochs, `5e-3` and `0.005`: one run, not two."""
    one = spec("adapter=krona", "trainer.epochs=3", "optim.lr=5e-3")
    two = spec("adapter=krona", "trainer.epochs=3.0", "optim.lr=0.005")
    assert one.run_id(MADE_OF) == two.run_id(MADE_OF)


def test_a_recorded_config_gives_the_same_id_again() -> None:
    plain = spec("adapter=krona", "adapter.factor_shape=[4,8]", "task=stsb")
    again = parse(plain.canonical(), spec_of)
    assert again == plain
    assert canonical_json(again.identity()) == canonical_json(plain.identity())


@pytest.mark.parametrize("method", OPTIONS)
def test_promised_options_exist(method: str) -> None:
    known = {path for path, _ in leaves(spec(f"adapter={method}").canonical())}
    assert set(OPTIONS[method].split()) <= known


def test_all_mistakes_come_in_one_message() -> None:
    with pytest.raises(UserError) as caught:
        spec(
            "adapter=krona",
            "adapter.scle=2",
            "trainer.epochs=0",
            "optim.lr=-1",
            "trainer.precision=fp31",
            "foo=1",
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "5 problems in the config:"
    text = "\n".join(lines[1:])
    assert "adapter.scle: unknown key. Did you mean 'scale'? Legal: factor_shape, init," in text
    assert "trainer.epochs: got 0. Legal: greater than 0." in text
    assert "optim.lr: got -1. Legal: greater than 0." in text
    assert "trainer.precision: got 'fp31'. Did you mean 'fp32'? Legal: 'auto', 'fp32' or 'bf16'." in text
    assert "foo: unknown key." in text


def test_an_unknown_method_comes_with_the_other_mistakes() -> None:
    with pytest.raises(UserError) as caught:
        spec("adapter=krona", "adapter.method=kronna", "seed=x")
    assert "adapter.method: adapter.method: " not in str(caught.value)
    assert "'kronna' is unknown. Did you mean 'krona'?" in str(caught.value)
    assert "seed: got 'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.eval_every=0", "trainer.eval_every: got 0. Legal: 'epoch' or greater than or equal to 1."),
        (
            "trainer.eval_every=epocs",
            "trainer.eval_every: got 'epocs'. Did you mean 'epoch'? Legal: 'epoch' or a whole number.",
        ),
        ("adapter.factor_shape=x", "adapter.factor_shape: got 'x'. Legal: 'auto' or a list or a group of keys."),
        ("adapter.layers=3", "adapter.layers: got 3. Legal: 'all' or text or a list."),
        ("adapter.targets=query", "adapter.targets: got 'query'. Legal: a list."),
        ("optim=3", "optim: got 3. Legal: a group of keys."),
        ("model.known.foo=3", "model.known.foo: unknown key. Legal: config, label, name, sha256."),
    ],
)  # fmt: skip
def test_a_value_with_several_forms_is_one_mistake(override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        spec("adapter=krona", override)
    assert str(caught.value).splitlines() == ["1 problem in the config:", f"  {line}"]


def test_a_group_takes_a_name() -> None:
    with pytest.raises(UserError, match="a group takes the name of a choice"):
        composed("trainer=3")


def test_a_missing_value_says_how_to_give_it() -> None:
    values = dict(BASE)
    values["optim"] = {k: v for k, v in BASE["optim"].items() if k != "lr"}
    with pytest.raises(UserError, match=r"optim\.lr: missing\. Give it as optim\.lr=VALUE\."):
        parse(values, spec_of)


@pytest.mark.parametrize("value", ["nan", "inf", "[1]", "abc"])
def test_no_learning_rate_that_is_no_number(value: str) -> None:
    with pytest.raises(UserError, match=r"optim\.lr: got "):
        spec("adapter=krona", f"optim.lr={value}")


def test_params_and_percent_exclude_each_other() -> None:
    with pytest.raises(UserError, match="give params or percent, not both"):
        spec("adapter=krona", "budget.params=100", "budget.percent=1")


def test_another_model_name_forgets_what_is_known() -> None:
    known = {"name": "a", "label": "A", "config": {"model_type": "bert"}, "sha256": "0" * 64}
    same = ModelSpec.model_validate({"name": "a", "known": known})
    other = ModelSpec.model_validate({"name": "some/other", "known": known})
    assert (same.label, same.known is not None) == ("A", True)
    assert (other.label, other.known) == ("other", None)


def test_specs_are_frozen() -> None:
    plain = spec("adapter=krona")
    with pytest.raises(ValueError, match="frozen"):
        plain.seed = 3  # type: ignore[misc]
