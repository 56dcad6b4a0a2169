"""SIGINT, SIGTERM and SIGHUP at any moment of a run: the state is kept where it stands, and it goes on exactly."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from petbench.adapters.registry import spec_of
from petbench.cli import run_command
from petbench.compose.expand import expand
from petbench.config.spec import RunSpec, parse
from petbench.machine import signals
from petbench.record import Record, read_record
from petbench.tracking.log import JsonlTracker
from petbench.training.fit import Fit
from petbench.training.prepare import prepare
from petbench.training.resume import load_resume
from petbench.training.run import run
from petbench.training.scoring import Scorer

SMALL = [
    "task=rte", "data=toy", "data.toy_train=64", "data.toy_validation=16", "logger=jsonl",
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
    monkeypatch.setattr("petbench.measure.latency.TIMED", 1)  # its numbers are not looked at here
    monkeypatch.setattr("petbench.measure.latency.WARM_UP", 0)
    threads = torch.get_num_threads()
    before = {number: signal.getsignal(number) for number in STATUS}
    yield
    torch.set_num_threads(threads)
    assert {number: signal.getsignal(number) for number in STATUS} == before  # given back


@cache
def spec_of_method(method: str) -> RunSpec:
    """Composed once."""
    (member,) = expand([*SMALL, *METHODS[method]])
    return parse(member.values, spec_of)


def train(method: str, results: str) -> Record:
    """The run, or what is left of it, here."""
    update = {"results_dir": results, "cache_dir": f"{results}/cache"}
    return run(prepare(spec_of_method(method).model_copy(update=update)))


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
        "curve": [point.model_dump(exclude={"seconds"}) for point in record.curve],
        "adapter": (folder / "adapter" / "adapter.safetensors").read_bytes(),
        "predictions": {p.name: p.read_bytes() for p in (folder / "predictions").iterdir()},
        "lines": [line.split('"seconds"')[0] + line.split('"values"')[1] for line in lines],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The outcome of a method's run that nobody stopped; each is trained once."""

    @cache
    def of(method: str) -> dict[str, Any]:
        place = str(tmp_path_factory.mktemp("whole"))
        train(method, place)
        return outcome(place)

    return of


def when_called(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    call: int,
    number: signal.Signals,
    after: bool = False,
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
    whole: Callable[[str], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = whole(method)
    owner, name, call, after, step = MOMENTS[moment]
    if name == "backward":
        call *= spec_of_method(method).trainer.gradient_accumulation  # so many backward passes a step
    with monkeypatch.context() as patch, pytest.raises(signals.Interrupted) as stopped:
        when_called(patch, owner, name, call, number, after)
        train(method, "stopped")
    assert signals.exit_status(stopped.value) == STATUS[number]
    by = "the user" if number == signal.SIGINT else number.name
    assert record_of("stopped").status == "interrupted"
    assert record_of("stopped").reason == f"stopped by {by}"
    assert not (folder_of("stopped") / "claim.json").exists()
    capsys.readouterr()
    train(method, "stopped")
    said = capsys.readouterr().out
    assert ("going on from" in said) == (step is not None)
    assert step is None or f"going on from step {step}." in said
    assert outcome("stopped") == expected
    assert not list(folder_of("stopped").glob("resume*"))


@pytest.mark.parametrize("number", STATUS)
def test_the_command_says_that_it_was_interrupted(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    when_called(monkeypatch, Fit, "resume", 1, number)
    assert run_command(["train", *SMALL, *METHODS["krona"], "cache_dir=cache"]) == STATUS[number]
    said = capsys.readouterr().err.strip()
    assert said == ("interrupted" if number == signal.SIGINT else f"interrupted ({number.name})")


def test_a_run_that_ignores_hang_ups_is_not_stopped_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nohup petbench train …`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        when_called(monkeypatch, torch.Tensor, "backward", 2, signal.SIGHUP)
        assert train("krona", "results").status == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_schedulers_warning_is_answered_once_the_run_can_go_on(
    whole: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's handler queues the job again and leaves; it comes to its turn between two steps."""
    turns: list[bool] = []

    def queue_again(number: int, frame: Any) -> None:
        turns.append(signals._state.held)
        raise SystemExit(255)

    before = signal.signal(signal.SIGUSR2, queue_again)
    try:
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            when_called(patch, torch.Tensor, "backward", 3, signal.SIGUSR2)
            train("krona", "stopped")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert turns == [True]
    assert read_record(folder_of("stopped")) is None  # it is not over: the scheduler starts it again
    assert load_resume(folder_of("stopped")).progress.step == 3  # type: ignore[union-attr]
    train("krona", "stopped")
    assert outcome("stopped") == whole("krona")


def test_a_stop_after_the_record_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is done, though the command was stopped while it told others so."""
    with monkeypatch.context() as patch, pytest.raises(signals.Interrupted):
        when_called(patch, JsonlTracker, "finish", 1, signal.SIGTERM)
        train("krona", "results")
    assert record_of("results").status == "done"
    assert outcome("results")["lines"]


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
