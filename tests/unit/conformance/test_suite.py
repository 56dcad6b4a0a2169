"""The conformance checks catch what they are for: one broken method each."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.adapters.adapter import Adapter, Affine, Attachment
from petbench.adapters.method import Method
from petbench.adapters.methods.krona import KronA, KronASpec
from petbench.commands.conformance import conformance_main
from petbench.conformance import checks as checks
from petbench.conformance import maths as maths
from petbench.conformance.case import Case, build_case
from petbench.conformance.resume import resuming
from petbench.conformance.suite import CHECKS, CheckResult, check_on, models_of, run_conformance
from petbench.errors import RunError, UserError
from petbench.models.family_table import FAMILIES
from petbench.models.sites import Layout

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture(scope="module")
def krona() -> Case:
    return build_case("krona", "tiny_bert")


class Scale(Adapter):
    """target · w with switches for what is wrong."""

    def __init__(self, d: int, **wrong: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(d))
        self.unused = nn.Parameter(torch.ones(d)) if wrong.get("unused") else None
        self.wrong = wrong
        self.calls = 0  # in no file: not there any more when a run goes on

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        if self.wrong.get("counts_calls"):
            self.calls += 1
            return target * self.w * self.calls
        if self.wrong.get("not_identity"):
            return target * self.w + 0.01
        return target * (self.w.detach() + 0 * self.w if self.wrong.get("no_gradient") else self.w)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return target * self.w * (1.001 if self.wrong.get("other_reference") else 1)

    def merged(self, base: Affine, read: Affine | None) -> Affine:
        factor = 2 if self.wrong.get("bad_merge") else 1
        return Affine(
            base.weight * self.w[:, None] * factor, None if base.bias is None else base.bias * self.w
        )


class Broken(Method[KronASpec]):
    """Scales every query."""

    name = "broken"
    Spec = KronASpec

    def __init__(self, **wrong: bool) -> None:
        self.wrong = wrong

    def attachments(self, spec: KronASpec, layout: Layout) -> Iterable[Attachment]:
        layers = "all" if self.wrong.get("layers_ignored") else spec.layers
        for site in layout.sites("query", layers=layers):
            yield Attachment(site, Scale(site.d_out, **self.wrong))

    def count(self, spec: KronASpec, layout: Layout) -> int:
        return sum(site.d_out for site in layout.sites("query")) + bool(self.wrong.get("miscounted"))

    def mergeable(self, spec: KronASpec, layout: Layout) -> bool:
        return True


FAULTS: list[tuple[str, Callable[[Case], None], str]] = [
    ("not_identity", checks.identity, "identity_at_init says True"),
    ("miscounted", checks.counts, "64 adapter parameters, closed form 65"),
    ("other_reference", maths.fast_path, "fast path and reference differ"),
    ("no_gradient", checks.everything_moves, "get no gradient other than zero in 3 steps"),
    ("unused", checks.everything_moves, "unused"),
    ("bad_merge", checks.merging, "merged logits differ"),
    ("counts_calls", resuming, "ended with other values"),
    ("layers_ignored", checks.impossible_shape, "adapter.layers [99] was taken"),
]


@pytest.mark.parametrize(("fault", "check", "message"), FAULTS, ids=[fault for fault, *_ in FAULTS])
def test_a_fault_is_found(krona: Case, fault: str, check: Callable[[Case], None], message: str) -> None:
    check(replace(krona, method=Broken()))  # sound without the fault
    with pytest.raises((AssertionError, RunError)) as error:
        check(replace(krona, method=Broken(**{fault: True})))
    assert message in str(error.value)


def test_a_frozen_tensor_that_moves_is_found(krona: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Case, tuned: Any, steps: int, lr: float) -> float:
        with torch.no_grad():
            for parameter in tuned.model.parameters():
                parameter.add_(1.0)
        return 0.0

    monkeypatch.setattr(Case, "train", train)
    with pytest.raises(AssertionError, match="frozen, yet changed by training"):
        checks.everything_moves(krona)


def test_values_that_are_not_saved_are_found(krona: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petbench.tuned.attach.Tuned.load_state", lambda self, state, strict=True: [])
    with pytest.raises(AssertionError, match="logits differ after loading"):
        checks.save_and_load(krona)


def test_a_yaml_without_a_learning_rate_is_found(krona: Case) -> None:
    with pytest.raises(AssertionError, match=r"no tuning\.lr"):
        checks.documented(replace(krona, values={"method": "krona"}))


def test_results_name_check_adapter_and_model() -> None:
    results = list(check_on("krona", "tiny_bert"))
    assert [result.check for result in results] == list(CHECKS)
    assert {result.status for result in results} == {"passed"}
    assert str(results[0]) == "passed  krona on tiny_bert, YAML and docstring"


def test_skipped_everywhere_fails() -> None:
    (skip, failure) = run_conformance("head_only", models=("tiny_t5",))
    assert (skip.status, skip.check) == ("skipped", "attach")
    assert failure == CheckResult(
        "applies somewhere", "head_only", "all", "failed", f"skipped on every model (tiny_t5: {skip.detail})"
    )


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance_main(["krona", "--failures"]) == 0
    assert capsys.readouterr().out == f"krona conforms: {3 * len(CHECKS)} passed, 0 failed, 0 skipped.\n"


def test_the_command_fails_with_the_method(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(checks, "count_params", lambda tuned: SimpleNamespace(adapter=1))
    with pytest.raises(RunError, match=r"head_only does not conform: .* 2 failed"):
        conformance_main(["head_only", "--failures"])
    assert "closed-form count: 1 adapter parameters, closed form 0" in capsys.readouterr().out.replace(
        "\n", " "
    )


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'krona'"):
        run_conformance("kronna")


def test_the_closed_form_of_krona_stays_what_the_suite_runs(krona: Case) -> None:
    """Two layers, query and value, 32x32 as 8x4 and 4x8."""
    assert KronA().count(krona.spec, krona.backbone.layout) == 4 * (32 + 32)


@pytest.mark.parametrize(
    ("family", "models"),
    [("bart", ("tiny_bart",)), ("t5", ("tiny_t5", "tiny_t5_gated")), ("deberta-v2", ("tiny_deberta",))],
)
def test_a_family_is_its_tiny_models(family: str, models: tuple[str, ...]) -> None:
    assert models_of(family) == models


def test_every_family_has_a_tiny_model() -> None:
    for family in FAMILIES.keys() - {"xlm-roberta"}:  # RoBERTa with another vocabulary
        assert models_of(family)


def test_the_command_takes_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    """The trial of the family table: BART is one entry of it and a YAML."""
    assert conformance_main(["lora", "--family", "bart"]) == 0
    assert "lora conforms: 16 passed, 0 failed, 0 skipped." in capsys.readouterr().out
    with pytest.raises(UserError, match=r"--family: 'brat' is unknown\. Did you mean 'bert'"):
        conformance_main(["lora", "--family", "brat"])
