"""Lanes equal the runs they are, in float64: trained values after AdamW steps, 50 for every native method."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5LayerNorm

from petbench.adapters.registry import method_named, methods
from petbench.compose.expand import choice
from petbench.config.sections import OptimSpec
from petbench.config.tree import options
from petbench.conformance.case import Case, build_case
from petbench.errors import RunError
from petbench.training.lanes.batches import losses, rows_of, side_by_side
from petbench.training.lanes.stack import acting, owners_of, sees_rows_alone, stacked
from petbench.training.optim import make_optimizer, make_schedule
from petbench.tuned.attach import Tuned

MODELS = ("tiny_bert", "tiny_t5", "tiny_gpt2")
RATES = (1e-3, 5e-3, 2e-2)
PIECES = ((0, 4, 12), (4, 6, 7), (5, 8, 12))  # of the eight rows: from, to, tokens; lanes of other sizes
KEYS = re.compile(r"[._](key|k)\.(bias|b)$")
FREE = {"full"}  # nothing of the backbone is shared
QUICK = {("tiny_bert", "compacter"), ("tiny_t5", "krona"), ("tiny_gpt2", "mam"), ("tiny_t5", "prefix_tuning")}


def natives() -> list[str]:
    """One choice of `adapter=` for each method; variants of a method differ in sizes and places."""
    found: dict[str, str] = {}
    for name in options("adapter"):
        if not name.startswith("peft/") and name not in FREE:
            found.setdefault(str(choice("adapter", name)["method"]), name)
    return list(found.values())


CASES = [pytest.param(*case, 6, id=f"{case[0]}, {case[1]}, 6") for case in sorted(QUICK)] + [
    pytest.param(model, name, 50, id=f"{model}, {name}, 50", marks=pytest.mark.slow)
    for model in MODELS
    for name in natives()
    if (model, name) != ("tiny_t5", "head_only")  # a writer has no head
]


def lane_batches(case: Case) -> list[dict[str, Tensor]]:
    """Three lanes' batches, with other rows, numbers of rows and lengths."""
    wide = case.batch["input_ids"].shape[1]
    return [
        {
            name: tensor[start:stop, :tokens] if tensor.dim() == 2 and tensor.shape[1] == wide else tensor[start:stop]
            for name, tensor in case.batch.items()
        }
        for start, stop, tokens in PIECES
    ]  # fmt: skip


def lanes_of(case: Case) -> list[Tuned]:
    """Three runs' models: other initial values, other heads; float64, no dropout."""
    found = []
    for seed in range(len(RATES)):
        tuned = case.tuned(seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in tuned.model.named_parameters():
                if name in tuned.head_names:
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        tuned.model.double().eval()
        found.append(tuned)
    return found


def train(lanes: list[Tuned], steps: int, gradients: Callable[[], None]) -> list[dict[str, Tensor]]:
    """Steps of each lane's own AdamW, rate and clipping, as a run takes them, through the method's stages."""
    for tuned in lanes:
        tuned.installed.start(steps)
    done = 0
    for number, stage in enumerate(lanes[0].stages()):
        for tuned in lanes:
            tuned.set_stage(stage)
        makers = [
            make_optimizer(t.model.named_parameters(), OptimSpec(lr=lr, weight_decay=0.1), t.vector_names)
            for t, lr in zip(lanes, RATES, strict=True)
        ]
        last = number == len(lanes[0].stages()) - 1
        stop = steps if last else done + round(steps * stage.share)
        schedules = [
            make_schedule(m, OptimSpec(lr=lr), stop - done) for m, lr in zip(makers, RATES, strict=True)
        ]
        for _ in range(done, stop):
            for optimizer in makers:
                optimizer.zero_grad(set_to_none=True)
            gradients()
            for optimizer, schedule in zip(makers, schedules, strict=True):
                nn.utils.clip_grad_norm_(
                    [p for group in optimizer.param_groups for p in group["params"]], 1.0
                )
                optimizer.step()
                schedule.step()
        done = stop
    return [tuned.state() for tuned in lanes]


def whole_variance(norm: T5LayerNorm, hidden: Tensor) -> Tensor:
    """T5's norm in the precision of its input. transformers rounds the variance to float32, so that a difference in the
    sixteenth digit now and then makes one in the eighth."""
    variance = hidden.pow(2).mean(-1, keepdim=True)
    return norm.weight * hidden * torch.rsqrt(variance + norm.variance_epsilon)


@pytest.mark.parametrize(("model", "name", "steps"), CASES)
def test_steps_in_lanes_are_steps_alone(
    model: str, name: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(T5LayerNorm, "forward", whole_variance)
    case = build_case(name, model)
    solo, together, batches = lanes_of(case), lanes_of(case), lane_batches(case)

    def alone() -> None:
        for tuned, batch in zip(solo, batches, strict=True):
            tuned.model(**batch).loss.backward()

    def at_once() -> None:
        host = together[0]
        rows = max(map(rows_of, batches))
        batch = side_by_side(batches, host.model.config.pad_token_id)
        with acting(owners_of(host), stacked(together), len(together), rows):
            logits = host.model(**batch).logits
            losses(logits, batch["labels"], [rows_of(own) for own in batches]).sum().backward()

    assert sees_rows_alone(together[0])
    for one, other in zip(train(solo, steps, alone), train(together, steps, at_once), strict=True):
        for parameter, value in one.items():
            gap = float((value - other[parameter]).abs().max() / value.abs().max().clamp(min=1e-3))
            # What all keys of a row share moves all its attention scores alike: such a bias has no gradient but
            # rounding, and AdamW takes steps on that.
            of_keys = name == "bitfit" and KEYS.search(parameter)
            assert gap < (1e-5 if of_keys else 1e-9), f"{parameter}: {gap:.1e}"


@pytest.mark.parametrize("name", ["krona", "lora", "kernel_mix", "houlsby"])
def test_lanes_do_not_read_what_one_model_makes_for_all_its_adapters(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, where adapters that are alike make their matrices together: of one lane's values, not of all."""
    monkeypatch.setattr("petbench.adapters.together.bound_by_launches", lambda adapter: True)
    test_steps_in_lanes_are_steps_alone("tiny_bert", name, 4, monkeypatch)


def test_every_method_is_one_of_the_cases() -> None:
    """A new method is found by the registry; `full` has no backbone to share."""
    tried = {method_named(str(choice("adapter", name)["method"])).name for name in natives()}
    assert set(methods()) - tried == FREE | {"peft"}


def test_a_model_of_positions_that_all_rows_share_is_told() -> None:
    """DeBERTa's norm also runs over relative positions, which are no rows."""
    case = build_case("bitfit", "tiny_deberta")
    tuned = case.tuned()
    assert not sees_rows_alone(tuned)
    with (
        pytest.raises(RunError, match="was called with"),
        acting(owners_of(tuned), stacked([tuned, case.tuned(seed=1)]), 2, 4),
    ):
        tuned.model(**case.batch)


def test_no_two_lanes_share_a_dropout_mask() -> None:
    """Lanes with equal values on equal rows: in evaluation their outputs are equal, in training no two rows are."""
    case = build_case("lora", "tiny_bert")
    spec = case.spec.model_copy(update={"dropout": 0.5})
    lanes = [case.tuned(spec=spec) for _ in range(3)]
    for tuned in lanes:
        for module in tuned.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # but the adapters' own, which run under vmap
    for attachment in lanes[0].installed.attachments:
        for module in attachment.adapter.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.5
    with torch.no_grad():
        for tuned in lanes:
            for name, parameter in tuned.model.named_parameters():
                if name in tuned.adapter_names:
                    parameter.fill_(0.05)
    row = {name: tensor[:1] for name, tensor in case.batch.items()}
    batch = side_by_side([row] * 3, 0)
    found = {}
    for training in (False, True):
        model = lanes[0].model.train(training)
        with torch.no_grad(), acting(owners_of(lanes[0]), stacked(lanes), 3, 1):
            found[training] = model(**batch).logits
    torch.testing.assert_close(found[False][0], found[False][1])
    torch.testing.assert_close(found[False][0], found[False][2])
    gaps = torch.pdist(found[True])
    assert float(gaps.min()) > 1e-5, "two lanes drew one mask"
