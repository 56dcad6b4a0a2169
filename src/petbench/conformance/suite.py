"""Run the conformance list on a method: every claim that it makes, checked on tiny models of three families.

    for result in run_conformance("krona"):
        print(result)

`CASE_MODELS` are an encoder, an encoder-decoder and a decoder; `models_of` gives those of another family. The checks
themselves are in `checks.py`; the test suite runs the same functions.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from petbench.compose.expand import choice
from petbench.config.tree import options
from petbench.conformance.case import Case, NotApplicable, build_case
from petbench.conformance.checks import CHECKS
from petbench.errors import UserError, unknown
from petbench.models.source import quiet

CASE_MODELS = ("tiny_bert", "tiny_t5", "tiny_gpt2")


@dataclass(frozen=True)
class CheckResult:
    """One check of one method on one model. detail: what failed, or why it was skipped."""

    check: str
    adapter: str
    model: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""

    def __str__(self) -> str:
        tail = f": {self.detail}" if self.detail else ""
        return f"{self.status:8}{self.adapter} on {self.model}, {self.check}{tail}"


def run_conformance(name: str, models: tuple[str, ...] = CASE_MODELS) -> list[CheckResult]:
    """All results for a choice of `adapter=`, such as `krona` or `peft/lora`.

    A method that is skipped on every model fails. Raises UserError when there is no such choice.
    """
    results = [result for model in models for result in check_on(name, model)]
    if all(result.status == "skipped" for result in results):
        reasons = "; ".join(dict.fromkeys(f"{result.model}: {result.detail}" for result in results))
        detail = f"skipped on every model ({reasons})"
        results.append(CheckResult("applies somewhere", name, "all", "failed", detail))
    return results


def models_of(family: str) -> tuple[str, ...]:
    """The tiny models of a family, such as `bart`. Raises UserError for a family that has none."""
    found: dict[str, list[str]] = {}
    for name in options("model"):
        known = choice("model", name).get("known") if name.startswith("tiny_") else None
        if known:
            found.setdefault(known["config"]["model_type"], []).append(name)
    if family not in found:
        raise unknown("--family", family, found)
    return tuple(found[family])


def check_on(name: str, model: str) -> Iterator[CheckResult]:
    """The whole list for one method on one model; one skip when the method refuses the model."""
    case = build_case(name, model)
    try:
        case.tuned()
    except UserError as error:
        yield CheckResult("attach", name, model, "skipped", str(error))
        return
    for title, check in CHECKS.items():
        status, detail = _outcome(check, case)
        yield CheckResult(title, name, model, status, detail)


def _outcome(check: Any, case: Case) -> tuple[Literal["passed", "failed", "skipped"], str]:
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            check(case)
    except NotApplicable as reason:
        return "skipped", str(reason)
    except Exception as error:  # any fault of an outside method is a finding, not a crash of the list
        return "failed", str(error) if isinstance(
            error, AssertionError
        ) else f"{type(error).__name__}: {error}"
    return "passed", ""
