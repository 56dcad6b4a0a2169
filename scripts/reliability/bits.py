"""Corruptions: flipped bits and cut files are refused or change nothing; a broken resume state is trained anew."""

import os
import random
import shutil
import signal
from pathlib import Path

from faults import FAULTS
from kills import Verdict, spec, whole
from runs import folder_of, in_child, outcome, train

from petbench.errors import UserError
from petbench.record import read_answers, read_record
from petbench.training.resume import BrokenState, load_resume
from petbench.tuned.checkpoint import load_adapter

METHOD = "krona"
READ = {
    "adapter/adapter.safetensors": lambda folder: load_adapter(folder / "adapter"),
    "adapter/adapter_config.json": lambda folder: load_adapter(folder / "adapter"),
    "record.json": read_record,
    "answers.npz": lambda folder: read_answers(folder, "validation"),
    "resume.safetensors": load_resume,
}


def corruptions(place: Path, flips: int, seed: int) -> list[Verdict]:
    """Each file of a stopped or finished run with one bit turned, or cut, read as petbench reads it."""
    whole(METHOD, place)
    finished = folder_of(place / "whole" / METHOD)
    stopped = _stopped(place / "stopped")
    assert finished is not None
    found: list[Verdict] = []
    for name, read in READ.items():
        folder = stopped if name.startswith("resume") else finished
        path, data = folder / name, (folder / name).read_bytes()
        plain, chance = _plain(read(folder)), random.Random(seed)
        for number in range(flips):
            if number % 5 == 4:
                broken = data[: chance.randrange(len(data))]
            else:
                bit = chance.randrange(8 * len(data))
                broken = bytearray(data)
                broken[bit // 8] ^= 1 << bit % 8
            path.write_bytes(broken)
            try:
                same = _plain(read(folder)) == plain
            except (UserError, BrokenState):
                found.append(("refused", name))
            else:
                # A digit of a time, or a space of JSON: read, and either the same or not a trained value.
                kind = "exact" if same or name == "record.json" else "lost"
                found.append((kind, f"{name}, corruption {number}"))
        path.write_bytes(data)
    found.append(_trained_anew(place / "stopped", stopped))
    return found


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: tensor.tolist() for name, tensor in value.items()}
    return repr(value)


def _stopped(results: Path) -> Path:
    """A run killed after its first resume state."""
    fault = next(fault for fault in FAULTS if fault.name == "resume state 1, after")

    def killed() -> None:
        fault.arm(lambda: os.kill(os.getpid(), signal.SIGKILL))
        train(spec(METHOD), results)

    in_child(killed, results.with_suffix(".log"))
    folder = folder_of(results)
    assert folder is not None
    return folder


def _trained_anew(results: Path, folder: Path) -> Verdict:
    path = folder / "resume.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    status = in_child(lambda: train(spec(METHOD), results), results.with_suffix(".log"))
    good = status == 0 and outcome(results) == whole(METHOD, results.parent)
    shutil.rmtree(results)
    return ("exact" if good else "lost"), "a run with a broken resume state, begun afresh"
