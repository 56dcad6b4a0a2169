"""Runs in lanes end as the same runs by themselves: weights, scores, answers, records; and each fails by itself."""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import RunError
from petbench.record import Record, read_record
from petbench.training import fit
from petbench.training.lanes.group import Group
from petbench.training.lanes.lane import current
from petbench.training.prepare import Prepared, prepare
from petbench.training.run import run

NO_DROPOUT = [
    f"++model.known.config.{name}=0" for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")
]
SMALL = [
    "task=rte", "data=toy", "data.toy_train=44", "data.toy_validation=16", "model=tiny_bert", "logger=jsonl",
    "trainer.max_steps=9", "trainer.batch_size=8", "trainer.eval_every=3", "trainer.precision=fp32",
    "trainer.threads=1", "trainer.device=cpu",
]  # fmt: skip
KEYS = re.compile(r"_key\.b$")  # bitfit's, on T5
LANES = (["seed=0", "optim.lr=1e-3"], ["seed=1", "optim.lr=5e-3"], ["seed=2", "optim.lr=2e-3"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petbench.measure.latency.TIMED", 1)
    monkeypatch.setattr("petbench.measure.latency.WARM_UP", 0)


def prepared(folder: Path, *overrides: str) -> Prepared:
    (member,) = expand([*SMALL, *overrides, f"results_dir={folder}", f"cache_dir={folder}/cache"])
    return prepare(parse(member.values, spec_of))


def tried(ready: Prepared) -> Record | RunError:
    """A run in whatever lane this is; its error where it fails."""
    try:
        return run(ready, way=current())
    except RunError as error:
        return error


def in_lanes(folder: Path, *common: str, lanes: Sequence[Sequence[str]] = LANES) -> list[Any]:
    group = Group([partial(tried, prepared(folder, *common, *own)) for own in lanes])
    return group.run()


def weights(folder: Path, record: Record) -> dict[str, torch.Tensor]:
    return load_file(folder / "runs" / record.run_id / "adapter/adapter.safetensors")


def scores(record: Record) -> dict[str, float]:
    """Every score of a run by split and metric."""
    of = record.metrics
    return {f"{split}/{name}": value for split, found in {"selection": of.selection, **of.report}.items()
            for name, value in found.items()}  # fmt: skip


def test_jobs_that_stay_apart_join_no_pass_and_cost_their_own_seconds(tmp_path: Path) -> None:
    jobs = [
        partial(tried, prepared(tmp_path / way, "adapter=bitfit", *own)) for way in "ab" for own in LANES[:2]
    ]
    ticks = iter(range(10**9))
    records = Group(jobs, clock=lambda: float(next(ticks)), apart=2).run()
    assert [record.cost.lanes for record in records] == [2, 2, 1, 1]
    assert all(record.cost.step_seconds_median > 0 for record in records)  # of the clock that it was given
    assert all(record.cost.step_seconds_median % 0.25 == 0 for record in records)


@pytest.mark.parametrize(
    "common",
    [
        ["adapter=krona", *NO_DROPOUT],
        ["adapter=hadamard", *NO_DROPOUT],
        pytest.param(["adapter=compacter", *NO_DROPOUT, "trainer.gradient_accumulation=2"], marks=pytest.mark.slow),
        pytest.param(["adapter=lora", *NO_DROPOUT, "trainer.gradient_checkpointing=true"], marks=pytest.mark.slow),
        pytest.param(["adapter=prefix_tuning", *NO_DROPOUT, "trainer.precision=bf16"], marks=pytest.mark.slow),
        pytest.param(["adapter=bitfit", "model=tiny_t5", "++model.known.config.dropout_rate=0"],
          marks=pytest.mark.slow),
        ["adapter=krona", "model=tiny_t5", "++model.known.config.dropout_rate=0"],
        pytest.param(["adapter=krona", "task=stsb", "model=tiny_gpt2", "++model.known.config.resid_pdrop=0",
          "++model.known.config.embd_pdrop=0", "++model.known.config.attn_pdrop=0"], marks=pytest.mark.slow),
    ],
    ids=lambda common: " ".join(o for o in common if not o.startswith("++")),
)  # fmt: skip
def test_lanes_end_as_the_same_runs_by_themselves(tmp_path: Path, common: list[str]) -> None:
    solo = [run(prepared(tmp_path / "solo", *common, *own)) for own in LANES]
    found = in_lanes(tmp_path / "lanes", *common)
    loose = 1e-2 if "trainer.precision=bf16" in common else 1e-3
    for alone, lane in zip(solo, found, strict=True):
        assert isinstance(lane, Record), lane
        assert lane.cost.lanes == 3 and alone.cost.lanes == 1
        assert lane.run_id == alone.run_id and lane.best == alone.best and lane.params == alone.params
        losses = [[point.loss for point in record.curve] for record in (alone, lane)]
        assert losses[1] == pytest.approx(losses[0], rel=loose)
        # Classes give equal scores; a correlation of numbers shows the last digits of float32.
        assert scores(lane) == pytest.approx(scores(alone), rel=1e-5 if "task=stsb" in common else 0, abs=0)
        ours, theirs = weights(tmp_path / "lanes", lane), weights(tmp_path / "solo", alone)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            # A bias of all keys has no gradient but rounding, and AdamW takes whole steps on that: at most 9 of lr.
            within = 9 * 5e-3 if KEYS.search(name) else loose
            assert float((ours[name] - value).abs().max()) < within, name
        names = [
            {p.name for p in (tmp_path / way / "runs" / lane.run_id).rglob("*")} for way in ("solo", "lanes")
        ]
        assert names[0] == names[1], "a lane leaves the files that a run leaves"
    assert len({lane.run_id for lane in found}) == len(LANES)


@pytest.mark.parametrize(("tokens", "most"), [(0, 1), (168, 3), (10**9, 3)])
def test_a_batch_that_keeps_a_cpu_busy_trains_in_a_pass_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int, most: int
) -> None:
    """tokens: from which on a batch is one that does; these have 152 to 168."""
    passes: list[list[int]] = []
    plain = Group._losses

    def noted(group: Group, session: Any, batches: Sequence[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
        passes.append([batch["input_ids"].numel() for batch in batches])
        return plain(group, session, batches)

    monkeypatch.setattr("petbench.training.lanes.group.tokens_that_fill_a_cpu", lambda model: tokens)
    monkeypatch.setattr(Group, "_losses", noted)
    found = in_lanes(tmp_path / "lanes", "adapter=krona", *NO_DROPOUT)
    assert sum(map(len, passes)) == 3 * 9 and max(map(len, passes)) == most
    assert [record.cost.lanes for record in found] == [most] * 3
    assert all(size < tokens for sizes in passes if len(sizes) > 1 for size in sizes)
    if most == 1:
        for lane, own in zip(found, LANES, strict=True):
            alone = run(prepared(tmp_path / "solo", "adapter=krona", *NO_DROPOUT, *own))
            assert lane.adapter_sha256 == alone.adapter_sha256


def test_a_records_seconds_are_a_share_and_the_padding_is_there(tmp_path: Path) -> None:
    found = in_lanes(tmp_path, "adapter=krona", *NO_DROPOUT)
    costs = [record.cost for record in found]
    for cost in costs:
        assert cost.lanes_padding is not None and 0 < cost.lanes_padding <= 0.25
        assert cost.pass_seconds_median == pytest.approx(3 * cost.step_seconds_median)
    shares = [cost.step_seconds_median for cost in costs]
    assert max(shares) < 5 * min(shares), "one lane pays what is all lanes'"


def test_a_diverged_lane_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    lanes = (LANES[0], ["seed=1", "optim.lr=1e36"], LANES[2])
    first, broken, last = in_lanes(tmp_path / "lanes", "adapter=krona", *NO_DROPOUT, lanes=lanes)
    assert isinstance(broken, RunError)
    records = {r.seed: r for r in map(read_record, (tmp_path / "lanes/runs").iterdir()) if r is not None}
    assert records[1].status == "diverged" and "learning rate" in (records[1].reason or "")
    for lane, own in ((first, LANES[0]), (last, LANES[2])):
        alone = run(prepared(tmp_path / "solo", "adapter=krona", *NO_DROPOUT, *own))
        assert lane.status == "done" and lane.metrics == alone.metrics
        ours, theirs = weights(tmp_path / "lanes", lane), weights(tmp_path / "solo", alone)
        assert all(float((ours[name] - theirs[name]).abs().max()) < 1e-3 for name in theirs)


class Stopped(BaseException):
    """Stands for SIGKILL."""


def test_a_group_that_was_killed_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout: the generator's state is part of what is kept."""
    whole = in_lanes(tmp_path / "whole", "adapter=krona")
    kept, plain = [0], fit.save_resume

    def keep_and_stop(*arguments: Any) -> None:
        plain(*arguments)
        kept[0] += 1
        if kept[0] > 3:  # each lane has kept two states, at steps 3 and 6, and takes no step more
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(fit, "save_resume", keep_and_stop)
        with pytest.raises(Stopped):
            in_lanes(tmp_path / "killed", "adapter=krona")
    again = in_lanes(tmp_path / "killed", "adapter=krona")
    for before, after in zip(whole, again, strict=True):
        assert before.adapter_sha256 == after.adapter_sha256
        assert before.metrics == after.metrics and before.best == after.best


def test_no_room_for_all_halves_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = BertForSequenceClassification.forward

    def forward(self: Any, *arguments: Any, **tensors: Any) -> Any:
        if self.training and len(tensors["input_ids"]) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return plain(self, *arguments, **tensors)

    roomy = in_lanes(tmp_path / "roomy", "adapter=krona", *NO_DROPOUT)
    with monkeypatch.context() as patch:
        patch.setattr(BertForSequenceClassification, "forward", forward)
        tight = in_lanes(tmp_path / "tight", "adapter=krona", *NO_DROPOUT)
    assert "out of memory with 3 lanes at once" in capsys.readouterr().err
    for one, other in zip(roomy, tight, strict=True):
        assert other.status == "done" and other.cost.lanes == 2
        assert any("lanes at once" in change for change in other.changes)
        assert one.metrics == other.metrics
        rows = [record.cost.examples_per_second * record.cost.train_seconds for record in (one, other)]
        assert round(rows[0]) == round(rows[1]), "no row counted twice"


@pytest.mark.slow
def test_the_launcher_trains_what_can_share_together_and_the_rest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "-m", "hydra/launcher=lanes", "hydra.launcher.max_lanes=2", *SMALL, *NO_DROPOUT]
    assert run_command([*words, "adapter=krona,full,peft/lora", "seed=0,1,2"]) == 0
    said = capsys.readouterr().out
    assert "lanes: 2 runs train together (2 at once)." in said
    assert "3 runs train alone: the method trains the backbone itself" in said
    assert "3 runs train alone: the method is wired by another library" in said
    records = [record for record in map(read_record, Path("results/runs").iterdir()) if record is not None]
    assert len(records) == 9 and {record.status for record in records} == {"done"}
    lanes = sorted((record.adapter, record.cost.lanes) for record in records)
    assert [count for name, count in lanes if name == "krona"] == [1, 2, 2]
    assert all(count == 1 for name, count in lanes if name != "krona")
    assert run_command([*words, "adapter=krona,full,peft/lora", "seed=0,1,2"]) == 0
    assert "Nothing to run." in capsys.readouterr().out
    saved = json.loads((Path("results/runs") / records[0].run_id / "record.json").read_text())
    assert "lanes" not in json.dumps(saved["config"])
