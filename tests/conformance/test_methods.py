"""The conformance list over every method of the registry and every YAML, on three tiny models."""

from pathlib import Path

import pytest

from petbench.adapters.registry import methods
from petbench.compose.expand import choice
from petbench.conformance.suite import CASE_MODELS, CheckResult, check_on

YAMLS = sorted((Path(__file__).parents[2] / "conf/adapter").glob("*.yaml"))
NAMES = [path.stem for path in YAMLS]
RESULTS: dict[tuple[str, str], list[CheckResult]] = {}


def _results(name: str, model: str) -> list[CheckResult]:
    if (name, model) not in RESULTS:
        RESULTS[name, model] = list(check_on(name, model))
    return RESULTS[name, model]


@pytest.mark.parametrize("model", CASE_MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_conformance(name: str, model: str) -> None:
    results = _results(name, model)
    failed = [str(result) for result in results if result.status == "failed"]
    assert not failed, "\n".join(failed)
    if len(results) == 1:
        pytest.skip(results[0].detail)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_skipped_on_every_model_fails(name: str) -> None:
    assert any(len(_results(name, model)) > 1 for model in CASE_MODELS), f"{name} runs on no model"


def test_every_method_has_a_yaml() -> None:
    """`peft` has a folder of presets instead."""
    methods_with_yaml = set()
    for path in YAMLS:
        methods_with_yaml.add(choice("adapter", path.stem)["method"])
    assert set(methods()) - methods_with_yaml <= {"peft"}
