"""Whole sessions, operation counts and waits on a CUDA device without a GPU (`tests/pretended/device.cpp`).

What it cannot show: speed, the nondeterminism of kernels, and what a kernel refuses. `make gpu-check` is for that.
"""

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from petbench.adapters.registry import methods
from petbench.compose.expand import choice
from petbench.config.tree import options
from pretended import build

pytestmark = pytest.mark.skipif(bool(build.missing()), reason=build.missing())

PLACES = list(product(("tiny_bert", "tiny_t5", "tiny_gpt2"), ("bf16", "fp32")))
# A text-to-text model has no head, and PEFT's LoKr takes no transposed linear layer, which all of GPT-2's are.
REFUSED = {("head_only", "tiny_t5"), ("peft/lokr", "tiny_gpt2")}
RUN = "krona,tiny_bert,bf16,trainer.max_steps=5,trainer.eval_every=5,trainer.log_every=5"
GRAPH = "lora,tiny_bert,fp32,trainer.cuda_graph=auto,trainer.eval_every=2"
RESUME = "resume,lora,tiny_bert,bf16,trainer.max_steps=4,trainer.eval_every=2,trainer.keep_resume_state=true"
# BERT-base's twelve layers and twelve heads; counts do not depend on widths, so these are small.
TWELVE = [
    "model=tiny_bert",
    "++model.known.config.num_hidden_layers=12",
    "++model.known.config.hidden_size=96",
]
TWELVE += ["++model.known.config.num_attention_heads=12", "++model.known.config.intermediate_size=192"]


def names() -> list[str]:
    """One choice for every method, and PEFT's most used ones."""
    found: dict[str, str] = {}
    for name in sorted(options("adapter")):
        if "/" not in name:
            found.setdefault(str(choice("adapter", name)["method"]), name)
    assert found.keys() >= methods().keys() - {"peft"}
    return [*sorted(found.values()), "peft/lora", "peft/lokr", "peft/adalora"]


ALL = [f"{name},{model},{precision}" for name in names() for model, precision in PLACES]
# Every method once, models and precisions by turns; the rest is slow.
SOME = [ALL[6 * number + (5 * number) % 6] for number in range(len(names()))]


@pytest.fixture(scope="session")
def library() -> Path:
    return build.build(build.CACHE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretended")


def sessions(cases: list[str], library: Path, place: Path) -> dict[str, dict[str, Any]]:
    lines = build.run("sessions", *cases, library=library, cwd=place).splitlines()
    return {found["case"]: found for found in map(json.loads, lines)}


@pytest.fixture(scope="module")
def some(library: Path, place: Path) -> dict[str, dict[str, Any]]:
    return sessions([*SOME, RUN, GRAPH, RESUME], library, place)


@pytest.fixture(scope="module")
def the_rest(library: Path, place: Path) -> dict[str, dict[str, Any]]:
    return sessions([case for case in ALL if case not in SOME], library, place)


def check(found: dict[str, Any]) -> None:
    """A session ran to its end on the device, or was refused in the plan as it should be."""
    adapter, model, precision, *_ = found["case"].split(",")
    if (adapter, model) in REFUSED:
        assert found["exit"] == 2, found
        return
    assert found["exit"] == 0, found["said"]
    assert found["mistakes"] == []
    assert (found["status"], found["steps"]) == ("done", 2)
    assert (found["device"], found["precision"]) == ("Pretended H100", precision)
    assert found["moved"] is None or found["moved"] < (1e-4 if precision == "fp32" else 1e-3), found["moved"]


@pytest.mark.parametrize("case", SOME)
def test_a_session_runs_to_its_end(case: str, some: dict[str, dict[str, Any]]) -> None:
    check(some[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ALL if case not in SOME])
def test_every_session_runs_to_its_end(case: str, the_rest: dict[str, dict[str, Any]]) -> None:
    check(the_rest[case])


def test_a_step_waits_for_the_device_once_at_most(some: dict[str, dict[str, Any]]) -> None:
    """The one wait is transformers' own, which looks whether a mask hides anything; the first steps are guarded."""
    steps = some[RUN]["by step"]
    assert len(steps) == 5
    later = steps[3:]
    assert all(step.get("wait", 0) <= 1 for step in later), later
    assert all(step.get("copy_out", 0) == 0 for step in later), later


def test_batches_are_sent_without_waiting_one_step_ahead(some: dict[str, dict[str, Any]]) -> None:
    sent = [step.get("copy_in", 0) for step in some[RUN]["by step"]]
    waiting = [step.get("copy_in_waiting", 0) for step in some[RUN]["by step"]]
    a_batch = sent[1]
    assert a_batch >= 3  # ids, mask, labels at least
    assert sent == [2 * a_batch, a_batch, a_batch, a_batch, 0]  # the first two before the first step
    assert waiting[1:] == [0] * 4


def test_the_clock_of_the_device_counts_every_step(some: dict[str, dict[str, Any]]) -> None:
    assert 0 < some[RUN]["seconds"] < 60


def test_where_nothing_can_be_captured_a_run_goes_on_without_graphs(some: dict[str, dict[str, Any]]) -> None:
    """This torch has no CUDA, so its graphs refuse."""
    check(some[GRAPH])


def test_a_stopped_run_goes_on_to_the_same_bits(some: dict[str, dict[str, Any]]) -> None:
    """Dropout of the device's generator, the fused optimiser's moments and all."""
    found = some[RESUME]
    assert (found["stopped"], found["whole"]["exit"], found["went on"]["exit"]) == (130, 0, 0)
    assert len(found["went on"]["by step"]) == 2
    assert found["whole"]["adapter"] == found["went on"]["adapter"]


# Operations of a step, at most: what was counted, and one in a hundred more for other releases of the libraries.
MOST = {"backbone": 516, "lora": 686, "krona": 757, "houlsby": 773, "compacter": 792, "kernel_mix": 905}
MOST_OF_OTHERS = {
    "hadamard": 641, "bitfit": 744, "ia3": 762, "krona_b": 823, "phm_adapter": 785, "peft/lora": 893, "peft/lokr": 990,
}  # fmt: skip


def counted(names: Iterable[str], library: Path, place: Path) -> dict[str, int]:
    text = build.run("counting", *TWELVE, "--", *names, library=library, cwd=place)
    found: dict[str, int] = json.loads(text.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def counts(library: Path, place: Path) -> dict[str, int]:
    return counted(MOST, library, place)


@pytest.mark.parametrize("name", MOST)
def test_operations_of_a_step(name: str, counts: dict[str, int]) -> None:
    """A frozen weight that is cast at every step would add 148, a method's own casts some 50."""
    assert counts["backbone"] <= counts[name] <= MOST[name]


@pytest.mark.slow
def test_operations_of_a_step_of_the_others(library: Path, place: Path) -> None:
    found = counted(MOST_OF_OTHERS, library, place)
    assert not {name: number for name, number in found.items() if not 511 < number <= MOST_OF_OTHERS[name]}


@pytest.mark.slow
def test_the_check_for_a_real_gpu_runs_and_finds_nothing_bad(library: Path, tmp_path: Path) -> None:
    words = ["--quick", "--seconds", "900", "--out", str(tmp_path / "out")]
    text = build.run("check", *words, library=library, cwd=tmp_path)
    found = json.loads((tmp_path / "out/findings.json").read_text())
    assert found["bad"] == []
    assert {
        "versions",
        "device",
        "tiny_bert krona bf16",
        "step krona bf16",
        "one run",
        "peak of lora",
    } <= found.keys()
    assert "| krona bf16 |" in text
