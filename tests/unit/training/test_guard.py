"""Nothing trains unconnected: the guard lets methods of every kind pass and stops what hangs beside the model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from petbench.adapters.method import Stage
from petbench.config.tree import options
from petbench.conformance.case import Case, build_case
from petbench.errors import RunError
from petbench.training.guard import STEPS, Guard, biases_of_keys
from petbench.tuned.attach import Tuned

WHOLE = Stage(share=1.0)
# One of each architecture and of each way to hang on: output, input, parallel, fused slice, reader, vectors,
# backbone parameters, PEFT's layers.
PAIRS = [
    ("krona", "tiny_bert"), ("krona_b_res", "tiny_roberta"), ("kernel_mix", "tiny_deberta"), ("ia3", "tiny_t5"),
    ("lora", "tiny_gpt2"), ("houlsby", "tiny_llama"), ("parallel_adapter", "tiny_qwen3"), ("hadamard", "tiny_mpnet"),
    ("compacter", "tiny_t5_gated"), ("bitfit", "tiny_distilbert"), ("full", "tiny_modernbert"),
    ("prompt_tuning", "tiny_electra"), ("ln_tuning", "tiny_albert"), ("peft/vera", "tiny_bert"),
    ("peft/lora", "tiny_gpt2"), ("peft/ia3", "tiny_t5"), ("peft/adalora", "tiny_llama"),
]  # fmt: skip


def case_of(method: str, model: str) -> Case:
    return build_case(method, model)


def optimizer_of(tuned: Tuned, lr: float = 1e-2) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for p in tuned.model.parameters() if p.requires_grad], lr=lr)


def steps(
    case: Case,
    tuned: Tuned,
    guard: Guard,
    number: int = STEPS,
    lr: float = 1e-2,
    of_loss: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> None:
    """So many steps as a run takes them."""
    optimizer = optimizer_of(tuned, lr)
    tuned.model.eval()
    for _ in range(number):
        optimizer.zero_grad()
        loss = of_loss(tuned.model(**case.batch).loss)
        guard.loss(loss)
        loss.backward()
        guard.gradients(loss.detach(), optimizer)
        optimizer.step()


@pytest.mark.parametrize(("method", "model"), PAIRS)
def test_a_connected_method_passes_in_every_stage(method: str, model: str) -> None:
    case = case_of(method, model)
    tuned = case.tuned()
    tuned.installed.start(1000)
    for stage in tuned.stages():
        tuned.set_stage(stage)
        steps(case, tuned, Guard(tuned, stage))


def beside(tuned: Tuned) -> list[str]:
    """Every hook of the first adapter is lost, as when a library does not call what it hung on."""
    adapter = tuned.installed.attachments[0].adapter  # type: ignore[attr-defined]
    adapter.forward = lambda source, target: target
    return [f"petbench.{tuned.installed.attachments[0].key}."]  # type: ignore[attr-defined]


def times_zero(tuned: Tuned) -> list[str]:
    """It has a part in the output, but not through its values."""
    adapter = tuned.installed.attachments[0].adapter  # type: ignore[attr-defined]
    adapter.forward = lambda source, target: target + 0 * sum(p.sum() for p in adapter.parameters())
    return [f"petbench.{tuned.installed.attachments[0].key}."]  # type: ignore[attr-defined]


def detached(tuned: Tuned) -> list[str]:
    """Its change is computed, and cut off from the loss."""
    adapter = tuned.installed.attachments[0].adapter  # type: ignore[attr-defined]
    plain = type(adapter).forward
    adapter.forward = lambda source, target: target + (plain(adapter, source, target) - target).detach()
    return [f"petbench.{tuned.installed.attachments[0].key}."]  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_t5", "tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize(
    ("break_it", "words", "after"),
    [(beside, "get no gradient:", 1), (detached, "get no gradient:", 1),
     (times_zero, "get no gradient other than zero in 3 steps:", STEPS)],
)  # fmt: skip
def test_a_tensor_beside_the_model_stops_the_run(
    break_it: Callable[[Tuned], list[str]], words: str, after: int, model: str
) -> None:
    case = case_of("krona", model)
    tuned = case.tuned()
    trained = len(tuned.trained_names)
    (place,) = break_it(tuned)
    if after > 1:
        steps(case, tuned, Guard(tuned, WHOLE), after - 1)  # not judged yet
    with pytest.raises(RunError) as stopped:
        steps(case, tuned, Guard(tuned, WHOLE), after)
    said = str(stopped.value)
    assert said.startswith(f"2 of {trained} trained tensors {words} {place}")  # KronA's two factors
    assert "(transformers " in said
    assert ", peft " in said


def test_a_loss_without_any_trained_tensor_is_said_before_torch_says_it_its_own_way() -> None:
    """T5 in text form trains nothing but a prefix: when it is ignored, the loss has no gradient at all."""
    case = case_of("prompt_tuning", "tiny_t5")
    tuned = case.tuned()
    tuned.installed.enable(False)
    with pytest.raises(RunError, match=r"^1 of 1 trained tensors get no gradient: petbench\."):
        steps(case, tuned, Guard(tuned, WHOLE), 1)


def test_a_tensor_that_the_optimiser_does_not_hold_is_unconnected() -> None:
    case = case_of("krona", "tiny_bert")
    tuned = case.tuned()
    optimizer = torch.optim.AdamW(list(tuned.model.parameters())[-1:], lr=1e-2)
    guard = Guard(tuned, WHOLE)
    loss = tuned.model(**case.batch).loss
    loss.backward()
    with pytest.raises(RunError, match=r"^17 of 18 trained tensors get no gradient: .*, …"):
        guard.gradients(loss.detach(), optimizer)


def zeroed(case: Case) -> Tuned:
    tuned = case.tuned()
    times_zero(tuned)
    return tuned


def test_steps_without_a_learning_rate_are_not_counted() -> None:
    case = case_of("krona", "tiny_bert")
    tuned = zeroed(case)
    guard = Guard(tuned, WHOLE)
    steps(case, tuned, guard, 2 * STEPS, lr=0.0)
    steps(case, tuned, guard, STEPS - 1)
    with pytest.raises(RunError, match="other than zero"):
        steps(case, tuned, guard, 1)


@pytest.mark.parametrize("done", [0, 1, 2, STEPS, 100])
def test_a_run_that_goes_on_is_judged_at_the_third_step_of_its_stage_only(done: int) -> None:
    case = case_of("krona", "tiny_bert")
    tuned = zeroed(case)
    guard = Guard(tuned, WHOLE, done)
    left = max(0, STEPS - done)
    if left:
        steps(case, tuned, guard, left - 1)
        with pytest.raises(RunError, match="other than zero"):
            steps(case, tuned, guard, 1)
    else:
        steps(case, tuned, guard, STEPS + 1)


def test_nothing_to_learn_says_nothing() -> None:
    """A model that has learned its rows to the last bit has a loss, and gradients, of exactly zero."""
    case = case_of("krona", "tiny_bert")
    tuned = case.tuned()
    steps(case, tuned, Guard(tuned, WHOLE), STEPS + 1, of_loss=lambda loss: 0 * loss)


def test_a_claim_is_for_the_tensors_that_it_names() -> None:
    """AdaLoRA may set all of a module's lora_E to zero; then its A and B wait, and nothing else may."""
    case = case_of("peft/adalora", "tiny_bert")
    tuned = case.tuned()
    resting = {n.split(".")[-2] for n in tuned.trained_names if case.method.may_rest(case.spec, n)}
    assert resting == {"lora_A", "lora_B"}

    @torch.no_grad()
    def masked(module: Any, arguments: Any) -> None:
        for name, parameter in tuned.model.named_parameters():
            if "lora_E" in name:
                parameter.zero_()

    tuned.model.register_forward_pre_hook(masked)
    steps(case, tuned, Guard(tuned, WHOLE))
    plain: Any = case_of("peft/lora", "tiny_bert").tuned()
    assert not any(plain.method.may_rest(plain.spec, n) for n in plain.trained_names)


@pytest.mark.parametrize(
    ("method", "model", "keys"),
    [
        ("full", "tiny_bert", 2),
        ("bitfit", "tiny_roberta", 2),
        ("bitfit", "tiny_distilbert", 2),
        ("bitfit", "tiny_t5", 6),
    ],
)
def test_biases_of_keys_alone_may_have_a_gradient_of_zero(method: str, model: str, keys: int) -> None:
    """Softmax takes them out, so that what they get is rounding, or nothing."""
    case = case_of(method, model)
    tuned = case.tuned()
    named = dict(tuned.model.named_parameters())
    free = biases_of_keys(tuned.layout) & tuned.trained_names
    assert len(free) == keys  # one a layer; T5 has two stacks, and its decoder keys of two kinds
    for name in free:
        named[name].register_hook(torch.zeros_like)
    steps(case, tuned, Guard(tuned, WHOLE))
    other = next(
        name for name in sorted(tuned.trained_names) if name.endswith((".bias", ".b")) and name not in free
    )
    named[other].register_hook(torch.zeros_like)
    with pytest.raises(
        RunError, match=rf"^1 of \d+ trained tensors get no gradient other than zero in 3 steps: {other}"
    ):
        steps(case, tuned, Guard(tuned, WHOLE))


@pytest.mark.parametrize("model", [name for name in sorted(options("model")) if name.startswith("tiny_")])
def test_the_families_claim_about_biases_of_keys_is_true(model: str) -> None:
    """In float64, against the largest gradient: nothing but rounding where it is claimed, and only there."""
    case = case_of("bitfit" if "t5" in model else "full", model)
    tuned = case.tuned()
    tuned.model.double().eval()
    batch = {
        name: value.double() if value.is_floating_point() else value for name, value in case.batch.items()
    }
    tuned.model(**batch).loss.backward()
    size = {n: float(p.grad.abs().max()) for n, p in tuned.model.named_parameters() if p.grad is not None}
    most = max(size.values())
    keys = tuned.layout.sites("key")
    named = {
        name for site in keys for name in (f"{site.module}.bias", f"petbench.{site.key}.b")
    } & size.keys()
    assert {name for name in named if size[name] < 1e-12 * most} == biases_of_keys(tuned.layout) & size.keys()


def test_it_looks_three_times_and_waits_for_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of("krona", "tiny_bert")
    tuned = case.tuned()
    waits: list[int] = []
    plain = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: waits.append(1) or plain(self))
    steps(case, tuned, Guard(tuned, WHOLE), 10)
    assert len(waits) == 1
