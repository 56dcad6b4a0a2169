"""Processes: several that train one run: gradients averaged over them, draws of each one's own."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from petbench.machine.seeds import derive_seed


def averaged(model: nn.Module, accelerator: Accelerator, rests: bool) -> nn.Module:
    """The model as it trains: with several processes, its gradients are the mean over them.

    Made for one stage of a run: which tensors have gradients is fixed then. rests: whether one of them may have
    none in a step; finding out which costs time, so it is not asked elsewhere.
    """
    if accelerator.num_processes == 1:
        return model
    place = accelerator.device
    devices = [place] if place.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=rests)


def seed_draws(seed: int, process: int, step: int) -> None:
    """Before a step, the generators of every process but the first, which has one series of draws for the whole run.

    They follow from run, process and step: a run that goes on after a stop draws what it would have drawn,
    wherever each process stood.
    """
    if process:
        torch.manual_seed(derive_seed(seed, f"dropout {process} {step}"))
