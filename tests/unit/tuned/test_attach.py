"""Attach: what trains, what is saved and loaded, what is switched off, stages, seeds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import petbench
from petbench.adapters.method import Method, Stage
from petbench.adapters.registry import method_named, spec_of
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import DiskError, UserError
from petbench.training.resume import Progress, load_resume, save_resume
from petbench.tuned.attach import Tuned, attach
from petbench.tuned.checkpoint import load_tensors, save_adapter, save_tensors
from petbench.tuned.start import start_from
from tiny_models import backbone, batch, logits, tuned


def trainable(made: Tuned) -> set[str]:
    return {name for name, parameter in made.model.named_parameters() if parameter.requires_grad}


def test_only_what_is_named_trains() -> None:
    made = tuned("tiny_bert", "krona", train_norms=True)
    assert trainable(made) == made.trained_names
    assert {name.split(".")[0] for name in made.adapter_names} == {"petbench"}
    assert made.head_names == {"classifier.weight", "classifier.bias"}
    assert len(made.norm_names) == 2 * 2 * 2  # two norms a layer, weight and bias
    assert not made.other_names
    assert not any("embeddings" in name or "pooler" in name for name in made.trained_names)


def test_norms_stay_frozen_unless_asked_for() -> None:
    assert tuned("tiny_bert", "krona", train_norms=False).norm_names == frozenset()


def test_parts_never_overlap_and_full_is_everything() -> None:
    made = tuned("tiny_bert", "full")
    parts = [made.adapter_names, made.head_names, made.norm_names, made.other_names]
    assert sum(map(len, parts)) == len(made.trained_names)
    assert made.trained_names == {name for name, _ in made.model.named_parameters()}


def test_a_seed_decides_the_start_and_torchs_generator_is_left_alone() -> None:
    def start(seed: int) -> torch.Tensor:
        made = backbone("tiny_bert")
        method = method_named("krona")
        state = torch.get_rng_state()
        tuned = attach(made.model, method, method.Spec(method="krona"), made.layout, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([t.flatten() for n, t in tuned.state().items() if n in tuned.adapter_names])

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_state_and_load_give_equal_logits() -> None:
    first, second = tuned("tiny_bert", "krona"), tuned("tiny_bert", "krona")
    with torch.no_grad():
        for name, parameter in first.model.named_parameters():
            if name in first.trained_names:
                parameter.add_(0.3)
    values = batch("tiny_bert")
    wanted = logits(first.model, values)
    assert not torch.equal(logits(second.model, values), wanted)
    assert second.load_state(first.state()) == []
    assert torch.equal(logits(second.model, values), wanted)


def test_a_state_is_a_copy() -> None:
    made = tuned("tiny_bert", "krona")
    state = made.state()
    before = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(1)
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_a_state_that_does_not_fit_says_why() -> None:
    made = tuned("tiny_bert", "krona")
    state = made.state()
    name = sorted(made.adapter_names)[0]
    with pytest.raises(UserError, match=r"1 tensors missing \['petbench"):
        made.load_state({n: t for n, t in state.items() if n != name})
    with pytest.raises(UserError, match=r"1 unknown \['other'\]"):
        made.load_state(state | {"other": torch.zeros(1)})
    with pytest.raises(UserError, match=rf"{name} is \(3,\) in the file and \(\d+, \d+\) in the model"):
        made.load_state(state | {name: torch.zeros(3)})


def test_a_state_of_the_wrong_shape_changes_nothing() -> None:
    made = tuned("tiny_bert", "krona")
    before = made.state()
    last = sorted(before)[-1]
    wrong = {name: value + 1 for name, value in before.items()} | {last: torch.zeros(7)}
    with pytest.raises(UserError, match="does not fit"):
        made.load_state(wrong)
    assert all(torch.equal(value, before[name]) for name, value in made.state().items())


def test_disabled_keeps_the_heads_values() -> None:
    made = backbone("tiny_bert")
    values = batch("tiny_bert")
    bare = logits(made.model, values)
    adapted = tuned("tiny_bert", "krona", made)
    with adapted.disabled():
        assert torch.equal(logits(adapted.model, values), bare)
        with torch.no_grad():
            adapted.model.get_parameter("classifier.bias").add_(1.0)
        assert torch.allclose(logits(adapted.model, values), bare + 1)


def test_disabled_while_merged_is_the_backbone_and_merged_again_after() -> None:
    made = backbone("tiny_bert")
    values = batch("tiny_bert")
    bare = logits(made.model, values)
    adapted = tuned("tiny_bert", "krona", made)
    adapted.merge()
    merged = logits(adapted.model, values)
    with adapted.disabled():
        assert torch.equal(logits(adapted.model, values), bare)
    assert torch.equal(logits(adapted.model, values), merged)
    assert adapted.is_merged


def test_what_cannot_merge_refuses_and_stays() -> None:
    adapted = tuned("tiny_bert", "houlsby", bottleneck_dim=4, reduction_factor=None)
    before = logits(adapted.model, batch("tiny_bert"))
    with pytest.raises(UserError, match="houlsby cannot be merged into this bert model"):
        adapted.merge()
    assert not adapted.is_merged
    assert torch.equal(logits(adapted.model, batch("tiny_bert")), before)


@contextmanager
def staged(method: Method, stages: tuple[Stage, ...]) -> Iterator[None]:  # type: ignore[type-arg]
    """A method with another schedule, for a while."""
    vars(method)["stages"] = lambda spec: stages
    try:
        yield
    finally:
        del vars(method)["stages"]


def test_a_stage_lets_its_part_train_alone() -> None:
    made = tuned("tiny_bert", "krona")
    body = made.adapter_names | made.norm_names
    made.set_stage(Stage(0.5, adapter=False, head=True))
    assert trainable(made) == made.head_names
    made.set_stage(Stage(0.5, adapter=True, head=False))
    assert trainable(made) == body
    made.set_stage(Stage(1.0))
    assert trainable(made) == body | made.head_names


def test_a_heads_stage_is_left_out_where_there_is_no_head() -> None:
    stages = (Stage(0.25, adapter=False), Stage(0.75, head=False))
    with staged(method_named("krona"), stages):
        assert [s.share for s in tuned("tiny_bert", "krona").stages()] == [0.25, 0.75]
        (only,) = tuned("tiny_t5", "krona").stages()
        assert only == replace(stages[1], share=1.0)


def saved_run(folder: Path, made: Tuned, digest: str, state: dict[str, torch.Tensor] | None = None) -> None:
    """An adapter folder as a run leaves it."""
    (spec_run,) = expand(["model=tiny_bert", f"adapter={made.spec.method}"])
    spec = parse(spec_run.values, spec_of)
    save_adapter(folder, spec, made.state() if state is None else state, {"backbone_digest": digest})


def test_start_from_takes_what_fits_and_leaves_another_head(tmp_path: Path) -> None:
    first = tuned("tiny_bert", "krona")
    state = {name: value + 1 for name, value in first.state().items()}
    state["classifier.weight"], state["classifier.bias"] = torch.zeros(3, 32), torch.zeros(3)  # three classes
    saved_run(tmp_path, first, "one", state)
    second = tuned("tiny_bert", "krona")
    head = second.state()["classifier.bias"]
    assert set(start_from(second, tmp_path, "one")) == {"classifier.weight", "classifier.bias"}
    after = second.state()
    assert torch.equal(after["classifier.bias"], head)
    assert all(torch.equal(after[name], state[name]) for name in second.adapter_names)


def test_start_from_another_method_backbone_or_size_is_refused(tmp_path: Path) -> None:
    """Names and shapes of two methods or models may agree by chance."""
    saved_run(tmp_path, tuned("tiny_bert", "lora"), "one")
    with pytest.raises(UserError, match=r"holds lora, this run's method is krona\. Give a run of krona"):
        start_from(tuned("tiny_bert", "krona"), tmp_path, "one")
    with pytest.raises(UserError, match=r"trained on another backbone \(tiny_bert\)"):
        start_from(tuned("tiny_bert", "lora"), tmp_path, "two")
    with pytest.raises(UserError, match="init_from: nothing that"):
        start_from(tuned("tiny_bert", "lora", rank=4), tmp_path, "one")


def test_broken_and_missing_tensor_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*none\.safetensors"):
        load_tensors(tmp_path / "none.safetensors")
    path = tmp_path / "cut.safetensors"
    save_tensors({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"cut\.safetensors is broken"):
        load_tensors(path)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors({"a": torch.zeros(2)}, path)
    old = path.read_bytes()

    def full(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("petbench.tuned.checkpoint.save_file", full)
    with pytest.raises(DiskError, match=r"cannot write .*a\.safetensors: No space left.*another results_dir"):
        save_tensors({"a": torch.ones(2)}, path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_resume_state_comes_back_whole(tmp_path: Path) -> None:
    made = tuned("tiny_bert", "krona")
    parameters = [p for p in made.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    made.model(**batch("tiny_bert")).logits.sum().backward()
    optimizer.step()
    schedule.step()
    progress = Progress(step=3, best_score=0.5, curve=[{"step": 3, "score": 0.5}], step_seconds=[0.1])
    save_resume(tmp_path, progress, made.state(), made.state(), optimizer, schedule)
    drawn = torch.rand(3)

    state = load_resume(tmp_path)
    assert state is not None
    assert state.progress == progress
    assert state.part("trained").keys() == state.part("best").keys() == made.trained_names
    other = torch.optim.AdamW(parameters, lr=0.1)
    again = torch.optim.lr_scheduler.LambdaLR(other, lambda step: 1 / (step + 1))
    state.restore(other, again)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.05
    for key, moments in optimizer.state_dict()["state"].items():
        assert all(torch.equal(other.state_dict()["state"][key][m], v) for m, v in moments.items())
    assert torch.equal(torch.rand(3), drawn)  # the generator is where it was
    assert load_resume(tmp_path / "nowhere") is None


def test_attach_by_name_on_a_users_model() -> None:
    made = backbone("tiny_bert")
    adapted = petbench.attach(made.model, adapter="krona", factor_shape=(4, 8))  # type: ignore[operator]
    assert {n.split(".")[0] for n in adapted.adapter_names} == {"petbench"}
    assert adapted.model.get_parameter("petbench.encoder_0_query.A").shape == (4, 8)
    with pytest.raises(UserError, match=r"Did you mean 'krona'"):
        petbench.attach(made.model, adapter="krone")  # type: ignore[operator]
