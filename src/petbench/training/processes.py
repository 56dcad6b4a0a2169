"""Several processes that train one run: gradients averaged over them, random draws of each one's own."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from petbench.machine.seeds import derive_seed


def averaged(model: nn.Module, accelerator: Accelerator, rests: bool) -> nn.Module:
    """The model as it trains: with several processes, its gradients are the mean over them.

    To be called once a stage of the run, because it fixes which tensors have gradients. rests: whether one of them
    may have none in a step; searching for such tensors costs time, so it is done only then.
    """
    if accelerator.num_processes == 1:
        return model
    place = accelerator.device
    devices = [place] if place.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=rests)


def seed_draws(seed: int, process: int, step: int) -> None:
    """Seed the generators before a step in every process but the first, which has one series of draws for the run.

    The seed follows from run, process and step, so that a resumed run draws what it would have drawn without the
    stop, wherever each process stood.
    """
    if process:
        torch.manual_seed(derive_seed(seed, f"dropout {process} {step}"))
