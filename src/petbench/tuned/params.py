"""Parameter counts by part, from a real model or from one without weights."""

from petbench.record import Params
from petbench.tuned.attach import Tuned


def count_params(tuned: Tuned) -> Params:
    """Every part in parameters; shared tensors count once.

    The backbone is everything that is neither adapter nor head; percentages are of it.
    """
    sizes = {name: parameter.numel() for name, parameter in tuned.model.named_parameters()}
    adapter, head, norm, other = (
        sum(sizes[name] for name in names)
        for names in (tuned.adapter_names, tuned.head_names, tuned.norm_names, tuned.other_names)
    )
    backbone = sum(sizes.values()) - adapter - head
    method = adapter + norm + other
    trainable = method + head
    return Params(
        tuned=method,
        adapter=adapter,
        norm=norm,
        other=other,
        head=head,
        trainable=trainable,
        backbone=backbone,
        tuned_percent=100 * method / backbone,
        trainable_percent=100 * trainable / backbone,
    )
