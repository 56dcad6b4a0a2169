"""What weight decay acts on: matrices of every shape; no bias, norm, scale or prompt. Rates step by step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup

from petbench.config.sections import OptimSpec
from petbench.conformance.case import build_case, disturb
from petbench.training.optim import make_optimizer, make_schedule
from toy_runs import adapter_file, train

CONF = Path(__file__).parents[3] / "conf"
# Of methods whose adapter has parts that decay or parts that do not, though dimensions say otherwise: the
# last words of the names. All else follows from dimensions.
MATRICES = {
    "krona_b": {"A", "B"},
    "krona_b_res": {"A", "B"},
    "compacter": {"slow", "S", "T"},
    "kernel_mix": {"A", "B", "C", "D"},
    "adapter_lowrank": {"S", "T"},
    "prompt_tuning": set(),
    "prefix_tuning": set(),
    "mam": {"down", "up"},
    "peft/prompt": set(),
    "peft/prefix": set(),
    "peft/p_tuning": {"mlp_head.0.weight", "mlp_head.2.weight", "mlp_head.4.weight"},
    "peft/ia3": set(),
    "peft/boft": {"boft_R.default"},
    "peft/custom": set(),
    "peft/adalora": {"lora_A.default", "lora_B.default", "lora_E.default"},
}


@pytest.mark.parametrize("adapter", MATRICES)
def test_decay_acts_on_matrices_alone(adapter: str) -> None:
    # With transformers 5.24 PEFT puts its prefix into T5 alone of the small models.
    case = build_case(adapter, "tiny_t5" if adapter == "peft/prefix" else "tiny_bert")
    spec = case.spec
    if adapter.startswith("krona_b"):
        spec = spec.model_copy(update={"biases": 2})
    tuned = case.tuned(spec=spec)
    disturb(tuned, tuned.trained_names)
    before = {name: p.detach().clone() for name, p in tuned.model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(
        tuned.model.named_parameters(), OptimSpec(lr=0.1, weight_decay=0.5), tuned.vector_names
    )
    for parameter in tuned.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = set()
    for name, parameter in tuned.model.named_parameters():
        if name not in before or torch.equal(parameter, before[name]):
            continue
        torch.testing.assert_close(parameter.detach(), before[name] * 0.95)
        shrunk.add(name)
    words = 3 if "p_tuning" in adapter else 2 if "/" in adapter else 1
    assert {".".join(name.split(".")[-words:]) for name in shrunk & tuned.adapter_names} == MATRICES[adapter]
    assert shrunk - tuned.adapter_names == {name for name in tuned.head_names if name.endswith("weight")}


def test_a_run_leaves_prompts_alone(tmp_path: Path) -> None:
    """Prompts after one step are the same with and without decay, the head's matrix is not."""
    ends = []
    for decay in (0, 0.5):
        folder = str(tmp_path / str(decay))
        words = ["adapter=prompt_tuning", "trainer.max_steps=1", f"optim.weight_decay={decay}"]
        record = train(*words, f"cache_dir={folder}/cache", results=folder)
        ends.append(load_file(adapter_file(record, folder)))
    assert ends[0].keys() == ends[1].keys()
    moved = {name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])}
    assert moved == {"classifier.weight"}


def rates(schedule: LRScheduler, steps: int) -> list[float]:
    """The rate that each step uses."""
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)


@pytest.mark.parametrize(
    ("steps", "fields", "warmup"),
    [
        (50, {"warmup_ratio": 0.06}, 3),
        (51, {"warmup_ratio": 0.06}, 4),  # 3.06: up, not to the nearest
        (40, {"warmup_steps": 12}, 12),
        (40, {"warmup_steps": 0, "warmup_ratio": 0.5}, 0),
        (30, {"warmup_steps": 30}, 30),  # RTE in the KronA paper: all 500 steps of the run
        (20, {"warmup_steps": 500}, 500),
        (1, {"warmup_ratio": 0.06}, 1),
    ],
)
def test_linear_hf_is_transformers_schedule(steps: int, fields: dict[str, Any], warmup: int) -> None:
    ours = make_schedule(optimizer(), OptimSpec(lr=0.3, schedule="linear_hf", **fields), steps)
    theirs = get_linear_schedule_with_warmup(optimizer(), warmup, steps)
    found = rates(ours, steps)
    assert found == rates(theirs, steps)
    assert found[0] == (0.0 if warmup else 0.3)


@pytest.mark.parametrize(
    ("ratio", "fields", "wanted"),
    [
        (0.06, {"warmup_steps": 2}, [0.15, 0.3, 0.3, 0.2, 0.1]),
        (0.3, {}, [0.15, 0.3, 0.3, 0.2, 0.1]),  # 1.5: to the even one
        (0.0, {"warmup_steps": 500}, [0.075, 0.15, 0.225, 0.3, 0.3]),  # all but one
        (0.0, {"schedule": "constant", "warmup_steps": 2}, [0.15, 0.3, 0.3, 0.3, 0.3]),
    ],
)
def test_the_default_schedule_starts_above_zero(
    ratio: float, fields: dict[str, Any], wanted: list[float]
) -> None:
    spec = OptimSpec(lr=0.3, warmup_ratio=ratio, **fields)
    assert rates(make_schedule(optimizer(), spec, 5), 5) == pytest.approx(wanted)
