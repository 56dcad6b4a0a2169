"""The conformance check of resuming: a run that stops and resumes ends bit for bit like one that does not."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from petbench.config.sections import OptimSpec
from petbench.conformance.case import Case, NotApplicable
from petbench.training.optim import make_optimizer, make_schedule
from petbench.training.resume import Progress, ResumeState, load_resume, save_resume

STEPS, STOP = 4, 3  # step 3 lies in the second of two equal stages
RATE = OptimSpec(lr=1e-2)


def resuming(case: Case) -> None:
    """15. Stop and resume equals no stop, bit for bit on the CPU, with dropout and through the method's stages.

    Only the file that a run writes lies between: trained values, moments, generators, `memory`.
    """
    if not case.tuned().trained_names:
        raise NotApplicable("nothing trains")
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        whole = _run(case, Path(folder), STEPS, None)
        _run(case, Path(folder), STOP, None)
        torch.manual_seed(1)  # another process draws other numbers
        resumed = _run(case, Path(folder), STEPS, load_resume(Path(folder)))
    apart = [name for name in whole if not torch.equal(whole[name], resumed[name])]
    assert not apart, f"a run that stopped and went on ended with other values: {apart[:3]}"


def _run(case: Case, folder: Path, stop: int, earlier: ResumeState | None) -> dict[str, Tensor]:
    """Train until step `stop` of STEPS and write the resume file there; gives the trained values."""
    tuned = case.tuned()
    progress = Progress() if earlier is None else earlier.progress
    stages = tuned.stages()
    ends = [round(STEPS * sum(s.share for s in stages[: n + 1])) for n in range(len(stages))]
    tuned.installed.start(STEPS)
    if earlier is None:
        torch.manual_seed(0)
    else:
        tuned.load_state(earlier.part("trained"))
    tuned.model.train()
    for number in range(progress.stage, len(stages)):
        tuned.set_stage(stages[number])
        optimizer = make_optimizer(tuned.model.named_parameters(), RATE, tuned.vector_names)
        schedule = make_schedule(optimizer, RATE, ends[number] - (ends[number - 1] if number else 0))
        if earlier is not None:
            earlier.restore(optimizer, schedule)
            tuned.installed.remember(earlier.part("memory"))
            earlier = None
        progress.stage = number
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        while progress.step < min(stop, ends[number]):
            optimizer.zero_grad()
            tuned.model(**case.batch).loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            progress.step += 1
            tuned.installed.after_step(progress.step)
        if progress.step == stop:
            save_resume(folder, progress, tuned.state(), {}, optimizer, schedule, tuned.installed.memory())
            break
    return tuned.state()
