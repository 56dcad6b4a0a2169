"""SIGINT, SIGTERM and SIGHUP at any moment of a run: the state is kept where it stands, and it goes on exactly."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench import signals
from petbench.cli import run_command
from petbench.fit import Fit
from petbench.record import Record, read_record
from petbench.scoring import Scorer

SMALL = [
    "train", "task=rte", "data=toy", "data.toy_train=64", "data.toy_validation=16", "logger=jsonl",
    "trainer.max_steps=8", "trainer.batch_size=8", "trainer.eval_every=4", "trainer.precision=fp32",
    "trainer.threads=1", "trainer.device=cpu", "optim.lr=5e-3",
]  # fmt: skip
METHODS = {
    "krona": ["adapter=krona", "model=tiny_bert"],
    "hadamard in two stages": ["adapter=hadamard", "model=tiny_bert"],
    "lora with dropout on gpt2": ["adapter=lora", "adapter.dropout=0.1", "model=tiny_gpt2"],
    "adalora on llama": ["adapter=peft/adalora", "model=tiny_llama"],
    "compacter on t5": ["adapter=compacter", "model=tiny_t5", "trainer.gradient_accumulation=2"],
}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    before = {number: signal.getsignal(number) for number in STATUS}
    yield
    torch.set_num_threads(threads)
    assert {number: signal.getsignal(number) for number in STATUS} == before  # given back


def folder_of(results: str) -> Path:
    (folder,) = Path(results, "runs").iterdir()
    return folder


def record_of(results: str) -> Record:
    record = read_record(folder_of(results))
    assert record is not None
    return record


def outcome(results: str) -> dict[str, Any]:
    """What must not depend on a stop."""
    folder, record = folder_of(results), record_of(results)
    assert record.status == "done"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {
        "metrics": record.metrics,
        "best": record.best,
        "curve": [{k: v for k, v in point.items() if k != "seconds"} for point in record.curve],
        "adapter": (folder / "adapter" / "adapter.safetensors").read_bytes(),
        "predictions": {p.name: p.read_bytes() for p in (folder / "predictions").iterdir()},
        "lines": [line.split('"seconds"')[0] + line.split('"values"')[1] for line in lines],
    }


def when_called(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, number: signal.Signals, after: bool = False
) -> None:
    """Send this process a signal when a function is called for the so-manieth time, before or after its work."""
    plain: Callable[..., Any] = getattr(owner, name)
    calls = [0]

    def counted(*arguments: Any, **keywords: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and not after:
            os.kill(os.getpid(), number)
        result = plain(*arguments, **keywords)
        if calls[0] == call and after:
            os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(owner, name, counted)


# Moment: what is called then, for which time, after its work; and the step at which the run stands.
MOMENTS: dict[str, tuple[Any, str, int, bool, int | None]] = {
    "loading": (Fit, "resume", 1, False, None),
    "in the second step": (torch.Tensor, "backward", 2, True, 2),
    "in the step before an evaluation": (torch.Tensor, "backward", 4, False, 4),
    "in the first evaluation": (Scorer, "selection", 1, False, 4),
    "after the first evaluation": (Scorer, "selection", 1, True, 4),
    "in the first step after it": (torch.Tensor, "backward", 5, True, 5),
    "in the last step": (torch.Tensor, "backward", 8, True, 8),
    "in the last evaluation": (Scorer, "selection", 2, True, 8),
    "while it reports": (Scorer, "report", 1, False, 8),
}
# The whole table for one method, and for the others the moments at which most could go wrong.
STOPS = [("krona", moment, signal.SIGTERM) for moment in MOMENTS]
STOPS += [("krona", "in the second step", number) for number in (signal.SIGINT, signal.SIGHUP)]
STOPS += [
    (method, moment, signal.SIGTERM)
    for method in METHODS
    if method != "krona"
    for moment in ("in the second step", "in the first evaluation", "in the first step after it")
]


@pytest.mark.parametrize(("method", "moment", "number"), STOPS, ids=str)
def test_a_stopped_run_stands_where_it_was_and_goes_on_exactly(
    method: str,
    moment: str,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*SMALL, *METHODS[method]]
    owner, name, call, after, step = MOMENTS[moment]
    if name == "backward" and "accumulation" in " ".join(words):
        call = 2 * call  # two backward passes a step
    with monkeypatch.context() as patch:
        when_called(patch, owner, name, call, number, after)
        assert run_command([*words, "results_dir=stopped"]) == STATUS[number]
    said = capsys.readouterr()
    assert said.err.strip() == ("interrupted" if number == signal.SIGINT else f"interrupted ({number.name})")
    record = record_of("stopped")
    by = "the user" if number == signal.SIGINT else number.name
    assert (record.status, record.reason) == ("interrupted", f"stopped by {by}")
    assert not (folder_of("stopped") / "claim.json").exists()
    assert run_command([*words, "results_dir=stopped"]) == 0
    gone_on = f"going on from step {step}." if step is not None else None
    assert (gone_on in capsys.readouterr().out) if gone_on else not (folder_of("stopped") / "x").exists()
    assert run_command([*words, "results_dir=whole"]) == 0
    assert outcome("stopped") == outcome("whole")
    assert not list(folder_of("stopped").glob("resume*"))


def test_a_run_that_ignores_hang_ups_is_not_stopped_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nohup petbench train …`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        when_called(monkeypatch, torch.Tensor, "backward", 2, signal.SIGHUP)
        assert run_command([*SMALL, *METHODS["krona"], "results_dir=results"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert record_of("results").status == "done"


def test_a_schedulers_warning_is_answered_once_the_run_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit's handler queues the job again and leaves; it comes to its turn between two steps."""
    turns: list[bool] = []

    def queue_again(number: int, frame: Any) -> None:
        turns.append(signals._state.held)
        raise SystemExit(255)

    words = [*SMALL, *METHODS["krona"]]
    before = signal.signal(signal.SIGUSR2, queue_again)
    try:
        with monkeypatch.context() as patch:
            when_called(patch, torch.Tensor, "backward", 3, signal.SIGUSR2)
            with pytest.raises(SystemExit):
                run_command([*words, "results_dir=stopped"])
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert turns == [True]
    assert read_record(folder_of("stopped")) is None  # it is not over: the scheduler starts it again
    assert run_command([*words, "results_dir=stopped"]) == 0
    assert run_command([*words, "results_dir=whole"]) == 0
    assert outcome("stopped") == outcome("whole")


def test_ctrl_c_twice_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE_SECONDS", 0.0)
    stages: list[str] = []
    with pytest.raises(KeyboardInterrupt), signals.stop_signals(), signals.held():
        os.kill(os.getpid(), signal.SIGINT)
        stages.append("held")
        os.kill(os.getpid(), signal.SIGTERM)  # another word for the same
        stages.append("still held")
        os.kill(os.getpid(), signal.SIGINT)
        stages.append("not reached")
    assert stages == ["held", "still held"]


def test_a_signal_raises_once_and_lets_the_cleaning_up_be() -> None:
    stages: list[str] = []
    with pytest.raises(signals.Interrupted, match="SIGTERM") as caught, signals.stop_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
            stages.append("cleaned up")
    assert stages == ["cleaned up"]
    assert signals.exit_status(caught.value) == 143
    assert signals.asked() is None  # forgotten with the block
