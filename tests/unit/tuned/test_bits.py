"""Bits: what a disk or a copy changed in an adapter, its config or a resume state is never taken for what was saved."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench.adapters.registry import spec_of
from petbench.compose.expand import expand
from petbench.config.spec import parse
from petbench.errors import RunError, UserError
from petbench.export.write import merge_to_folder
from petbench.record import RESUME_FILE, Record, write_record
from petbench.training.resume import BrokenState, Progress, load_resume, save_resume
from petbench.tuned.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_adapter,
    read_adapter_config,
    save_adapter,
)
from tiny_models import tuned

STATE = {"petbench.a": torch.arange(12.0).reshape(3, 4), "petbench.b": torch.ones(5)}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter folder as a run leaves it, its record beside it."""
    (member,) = expand(["model=tiny_bert", "adapter=krona"])
    spec = parse(member.values, spec_of).model_copy(update={"results_dir": str(tmp_path)})
    folder = tmp_path / "runs" / "0123456789ab" / "adapter"
    _, digest = save_adapter(folder, spec, STATE, {"task": "rte", "backbone_digest": "one"})
    record = Record(
        run_id="0123456789ab", status="done", task="rte", model="tiny_bert", adapter="krona", seed=0,
        config=spec.canonical(), protocol="petbench", adapter_sha256=digest,
    )  # fmt: skip
    write_record(record, tmp_path)
    return folder


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_the_digest_stands_in_the_record_and_in_the_config(adapter: Path) -> None:
    record = json.loads((adapter.parent / "record.json").read_text())
    assert read_adapter_config(adapter)["weights_sha256"] == record["adapter_sha256"]
    loaded = load_adapter(adapter)
    assert all(torch.equal(loaded[name], value) for name, value in STATE.items())


def test_any_flipped_bit_of_the_weights_is_refused(adapter: Path) -> None:
    path = adapter / WEIGHTS_FILE
    for bit in random.Random(0).sample(range(8 * path.stat().st_size), 60):
        flip(path, bit)
        with pytest.raises(UserError, match=r"adapter\.safetensors is (broken|not the file that was saved)"):
            load_adapter(adapter)
        flip(path, bit)
    load_adapter(adapter)


def test_any_flipped_bit_of_the_config_is_refused_or_changes_nothing(adapter: Path) -> None:
    """A flip can make another spelling of the same JSON (a space that is a line's end), or name an unknown key."""
    path, before = adapter / CONFIG_FILE, read_adapter_config(adapter)
    told = 0
    for bit in random.Random(0).sample(range(8 * path.stat().st_size), 120):
        flip(path, bit)
        try:
            read = read_adapter_config(adapter)
            assert {
                k: v for k, v in read.items() if k in before and k != "own_sha256"
            }.items() <= before.items()
        except UserError:
            told += 1
        flip(path, bit)
    assert told > 100


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:20],
    "cut in the tensors": lambda data: data[:-4],
    "other bytes at the end": lambda data: data[:-16] + b"\xaa" * 16,
    "one byte more": lambda data: data + b"\0",
    "all zeros": lambda data: bytes(len(data)),
    "another file": lambda data: b"PK\3\4" + data[4:],
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_other_weights_are_refused(adapter: Path, kind: str) -> None:
    path = adapter / WEIGHTS_FILE
    path.write_bytes(CORRUPTIONS[kind](path.read_bytes()))
    with pytest.raises(UserError, match=r"adapter\.safetensors is (broken|not the file that was saved)"):
        load_adapter(adapter)


def test_weights_and_config_of_another_run_are_told_by_the_record(adapter: Path, tmp_path: Path) -> None:
    """Both were replaced and agree with each other."""
    (member,) = expand(["model=tiny_bert", "adapter=krona"])
    save_adapter(adapter, parse(member.values, spec_of), {"petbench.a": torch.zeros(2)}, {})
    with pytest.raises(UserError, match=r"but .*record\.json says"):
        load_adapter(adapter)


@pytest.mark.parametrize(
    "text", ["[]", "1", "null", '{"schema_version": 2}', "[" * 100_000, '{"schema_version": NaN}', "\ufeff{}"]
)
def test_a_config_that_is_none(adapter: Path, text: str) -> None:
    (adapter / CONFIG_FILE).write_text(text)
    with pytest.raises(UserError, match=r"adapter_config\.json (is broken|has schema)"):
        read_adapter_config(adapter)


def test_adapters_of_an_earlier_petbench_load_without_digests(adapter: Path) -> None:
    saved = read_adapter_config(adapter)
    del saved["weights_sha256"], saved["own_sha256"]
    (adapter / CONFIG_FILE).write_text(json.dumps(saved))
    (adapter.parent / "record.json").unlink()
    assert load_adapter(adapter).keys() == STATE.keys()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int32], ids=str)
def test_values_of_another_format_are_not_rounded_in(kind: torch.dtype) -> None:
    made = tuned("tiny_bert", "krona")
    before = made.state()
    name = sorted(before)[0]
    with pytest.raises(UserError, match=rf"{name} is {kind} in the file and torch\.float32 in the model"):
        made.load_state({**before, name: before[name].to(kind)})
    assert all(torch.equal(made.state()[n], value) for n, value in before.items())


@pytest.fixture
def resume(tmp_path: Path) -> Path:
    """A resume state of one tensor."""
    weight = torch.nn.Parameter(torch.arange(6.0))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    weight.sum().backward()
    optimizer.step()
    save_resume(
        tmp_path, Progress(step=3), {"w": weight.detach()}, {}, optimizer, schedule, None, {"seed": 0}
    )
    return tmp_path / RESUME_FILE


def test_any_flipped_bit_of_a_resume_state_is_seen(resume: Path) -> None:
    assert load_resume(resume.parent) is not None
    for bit in random.Random(0).sample(range(8 * resume.stat().st_size), 80):
        flip(resume, bit)
        with pytest.raises(BrokenState, match=r"resume\.safetensors is broken"):
            load_resume(resume.parent)
        flip(resume, bit)
    assert load_resume(resume.parent) is not None


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_other_resume_states_are_seen(resume: Path, kind: str) -> None:
    resume.write_bytes(CORRUPTIONS[kind](resume.read_bytes()))
    with pytest.raises(BrokenState, match=r"resume\.safetensors is broken"):
        load_resume(resume.parent)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_merge_that_gives_no_numbers_is_refused(value: float, tmp_path: Path) -> None:
    made = tuned("tiny_bert", "lora")
    state = made.state()
    name = sorted(made.adapter_names)[0]
    state[name].view(-1)[0] = value
    made.load_state(state)
    with pytest.raises(RunError, match=r"logits differ by nan: nothing was written"):
        merge_to_folder(made, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_merge_that_is_not_the_same_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from petbench.adapters import hooks

    plain: Callable[..., Any] = hooks.plain_copy

    def wrong(model: Any) -> Any:
        made = plain(model)
        with torch.no_grad():
            made.classifier.bias.add_(0.01)
        return made

    monkeypatch.setattr(hooks, "plain_copy", wrong)
    with pytest.raises(RunError, match=r"the merged model's logits differ by 1\.0e-02: nothing was written"):
        merge_to_folder(tuned("tiny_bert", "lora"), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
