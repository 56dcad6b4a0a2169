"""Bench: its rows, the bytes kept for the backward pass, operations against closed forms. No time is asserted."""

import json
from typing import Any

import pytest
import torch

from petbench.adapters.maths.kronecker import multiply_adds
from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.config.tree import options
from petbench.measure import bench
from petbench.measure.bench import AGAIN, BARE, Shape, measure
from petbench.measure.latency import clock_of
from petbench.models.made_up import made_up
from petbench.training.plan import plan

TINY = ("model=tiny_bert", "adapter.train_norms=false")
SMALL = Shape(batch=4, length=8, short=3, rounds=1, warmup=1, timed=2)
CPU = torch.device("cpu")


def spec(*overrides: str) -> RunSpec:
    (member,) = expand([*TINY, *overrides])
    return plan(parse(member.values, spec_of)).spec


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    """krona and the LoRA of equal count, on query and value of two layers of width 32."""
    specs = [spec("adapter=krona", "adapter.factor_shape=[8,4]"), spec("adapter=lora", "adapter.rank=1")]
    return {row["name"]: row for row in measure(specs, SMALL, ["step", "latency", "memory"], CPU)}


def test_rows_are_every_method_plain_and_merged_between_two_backbones(
    rows: dict[str, dict[str, Any]],
) -> None:
    assert list(rows) == [BARE, "krona", "krona merged", "lora", "lora merged", AGAIN]
    for name, row in rows.items():
        served = {"name", "latency_ms", "latency_ratio"}  # a merged model is served, not trained
        assert (row.keys() == served) == name.endswith("merged")
        assert row["latency_ms"] > 0
        assert row.get("step_ms", 1) > 0
    head = 2 * 32 + 2
    assert (rows[BARE]["trainable"], rows["krona"]["trainable"]) == (0, 4 * 64 + head)
    assert rows["krona"]["trainable"] == rows["lora"]["trainable"]


def test_krona_keeps_less_for_the_backward_pass_than_the_lora_of_equal_count(
    rows: dict[str, dict[str, Any]],
) -> None:
    tokens = SMALL.batch * SMALL.length
    middles = 4 * tokens * 4  # LoRA's rank-sized middle at each of four sites, float32
    kept = {name: row.get("saved_bytes_over_backbone") for name, row in rows.items()}
    assert kept["krona"] is not None
    assert kept["lora"] is not None
    assert kept["krona"] <= kept["lora"] - middles
    assert kept[BARE] == kept[AGAIN] == 0


def test_operations_are_those_of_the_formulas(rows: dict[str, dict[str, Any]]) -> None:
    """The rest of the model is the same, so krona and LoRA differ by their own products."""
    tokens, d = SMALL.batch * SMALL.length, 32
    # In layer 0 the input needs no gradient, so two of the four sites have no product for it.
    krona_forward = 4 * multiply_adds((8, 4), (4, 8), "a_first")
    left, right = 8 * 4 * 4, 4 * 4 * 8  # AᵀX and the product with B
    krona_backward = 4 * (right + left + left + right) + 2 * left  # dY Bᵀ, dA, AᵀX again, dB; dX
    lora_forward, lora_backward = 4 * 2 * d, 4 * 3 * d + 2 * d  # through B, dB, dA; dX
    expected = 2 * tokens * (krona_forward + krona_backward - lora_forward - lora_backward)
    assert rows["krona"]["operations"] - rows["lora"]["operations"] == expected


def test_a_merged_model_has_no_hook_and_the_logits_of_the_unmerged() -> None:
    krona = spec("adapter=krona", "adapter.init=normal")
    _, plain, merged, _ = bench.candidates([krona], merged=True)
    ids = torch.randint(10, 90, (2, 5))
    with torch.no_grad():
        expected, found = (c.model.eval()(input_ids=ids).logits for c in (plain, merged))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert any(module._forward_hooks for module in plain.model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in merged.model.modules())


@pytest.mark.parametrize("model", sorted(name for name in options("model") if name.startswith("tiny_")))
def test_the_yardstick_passes_gradients_in_every_family(model: str) -> None:
    """Also T5, whose `get_input_embeddings` is a module that is never called: both stacks have their own."""
    forms = ["text", "head"] if "t5" in model else ["head"]
    for form in forms:
        (member,) = expand([f"model={model}", "adapter=lora", f"task.form={form}"])
        specs = [plan(parse(member.values, spec_of)).spec]
        rows = {row["name"]: row for row in measure(specs, SMALL, ["step", "latency", "memory"], CPU)}
        assert list(rows) == [BARE, "lora", "lora merged", AGAIN]
        assert all(row["latency_ratio"] > 0 for row in rows.values())
        # A matrix costs two operations a weight and token forward, as many for the gradient of its input, and
        # none for its own: a backward pass that reached no layer would be missing here.
        assert rows["lora"]["operations"] > rows[BARE]["operations"] == rows[AGAIN]["operations"]
        assert rows[BARE]["saved_bytes"] > 0
        assert rows["lora"]["saved_bytes_over_backbone"] > 0


def test_the_yardsticks_backward_pass_reaches_both_stacks_of_a_t5() -> None:
    (member,) = expand(["model=tiny_t5", "adapter=lora"])
    backbone = bench.backbone(plan(parse(member.values, spec_of)).spec)
    bench.pass_gradients(backbone)
    reached: list[str] = []
    for name, module in backbone.named_modules():
        if name.endswith("layer.0.SelfAttention.q"):
            module.register_full_backward_hook(lambda *_, name=name: reached.append(name))
    backbone(**made_up(backbone, [8, 8])).loss.backward()
    assert sorted(reached) == sorted(
        f"{stack}.block.{layer}.layer.0.SelfAttention.q"
        for stack in ("encoder", "decoder")
        for layer in (0, 1)
    )


def test_latency_is_measured_on_a_backbone_without_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = bench.latencies

    def spying(models: list[Any], *rest: Any) -> list[list[float]]:
        seen.extend(len(m._forward_hooks) for m in models[0].modules() if m._forward_hooks)
        return real(models, *rest)

    monkeypatch.setattr(bench, "latencies", spying)
    measure([spec("adapter=bitfit")], SMALL, ["latency", "step"], CPU)
    assert seen == []


def test_one_thread_is_measured_in_its_own_time() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert clock_of(CPU).name == "CPU time of one thread"
        torch.set_num_threads(2)
        assert clock_of(CPU).name == "wall time"
    finally:
        torch.set_num_threads(before)


def test_the_command_prints_json_and_refuses_unknown_parts(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        assert (
            run_command(["bench", "adapter=krona,ia3", "model=tiny_bert", "--what", "memory", "--json"]) == 0
        )
    finally:
        torch.set_num_threads(before)
    shown = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in shown["rows"]] == [BARE, "krona", "ia3", AGAIN]
    assert shown["command"] == "petbench bench adapter=krona,ia3 model=tiny_bert --what memory --json"
    assert (shown["machine"]["threads"], shown["clock"]) == (1, "CPU time of one thread")
    assert {"torch", "transformers", "peft", "petbench"} <= shown["packages"].keys()
    assert shown["petbench"].keys() == {"commit", "dirty"}
    assert all("step_ms" not in row for row in shown["rows"])
    assert run_command(["bench", "--what", "speed"]) == 2
    assert "got 'speed'. Legal: step, latency, memory, joined by commas." in capsys.readouterr().err


def test_settings_of_one_method_have_a_name_each(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    shapes = "adapter.factor_shape=[8,4],[2,16]"
    try:
        assert (
            run_command(["bench", "adapter=krona", shapes, "model=tiny_bert", "--what", "memory", "--json"])
            == 0
        )
    finally:
        torch.set_num_threads(before)
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert names == [BARE, "krona factor_shape=[8,4]", "krona factor_shape=[2,16]", AGAIN]


def test_a_model_of_the_hub_is_measured_with_random_weights_and_no_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = ["model=t5_small", "model.weights=random", "adapter=lora", "--what", "step"]
    assert run_command(["bench", *chosen, "--batch", "1", "--length", "8", "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == [BARE, "lora", AGAIN]
    # rank 8 on query and value of 18 attentions, width 512
    assert rows[1]["trainable"] == 18 * 2 * 8 * (512 + 512)
