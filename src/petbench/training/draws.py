"""Draws: what a run's seed draws besides initial values and dropout: the split, the sample, the order of rows."""

from petbench.config.spec import RunSpec
from petbench.machine.seeds import derive_seed


def draws(spec: RunSpec) -> dict[str, int]:
    """The seed of every source that `vary` names, drawn from the run's seed; for the record.

    The draw of a split or a sample also depends on `protocol.split_seed` and `task.sample_seed`: another value gives
    another series of draws. Runs of different methods with one seed share all draws, so they can be compared as pairs.
    """
    purposes = {
        "split": f"split {spec.protocol.split_seed}",
        "sample": f"sample {spec.task.sample_seed}",
        "order": "order",
    }
    return {source: derive_seed(spec.seed, purposes[source]) for source in spec.vary}


def order_seed(spec: RunSpec) -> int:
    """The seed of the rows' order in every epoch: drawn where `vary` names it, else the same in all runs."""
    return draws(spec).get("order", derive_seed(0, "order"))


def drawn(spec: RunSpec) -> RunSpec:
    """The spec with the drawn seeds in `protocol.split_seed` and `task.sample_seed`, by which rows are cut."""
    found = draws(spec)
    protocol = {"split_seed": found["split"]} if "split" in found else {}
    task = {"sample_seed": found["sample"]} if "sample" in found else {}
    return spec.model_copy(
        update={
            "protocol": spec.protocol.model_copy(update=protocol),
            "task": spec.task.model_copy(update=task),
        }
    )
