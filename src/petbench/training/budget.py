"""Budget: choose the size at which a method tunes the most parameters without exceeding a wanted number."""

import copy
from typing import Any

from torch import nn

from petbench.adapters.method import Method
from petbench.config.sections import AdapterSpec, BudgetSpec
from petbench.errors import UserError
from petbench.models.sites import Layout
from petbench.record.units import percent
from petbench.tuned.attach import attach
from petbench.tuned.params import count_params


def wanted_params(budget: BudgetSpec, backbone: int) -> int | None:
    """The number of tuned parameters that is asked for; None without a budget."""
    if budget.params is not None:
        return budget.params
    return None if budget.percent is None else int(budget.percent / 100 * backbone)


def fit_budget(
    method: Method[Any], spec: AdapterSpec, layout: Layout, model: nn.Module, budget: BudgetSpec
) -> tuple[AdapterSpec, tuple[str, ...]]:
    """The spec whose count is the largest that does not exceed the budget, and a line that says so.

    model: without weights; it is left as it was. The budget counts tuned parameters, as tables show them: the
    adapter and the norms and other parts that train beside it, without the head. Among equal counts the first
    size in the method's own order wins. Raises UserError when the method has no size to choose or even its smallest
    is too large.
    """
    if budget == BudgetSpec():
        return spec, ()
    sizes = list(method.sizes(spec, layout))
    if not sizes:
        raise UserError(f"budget: {method.name} has no size to choose; leave budget.* out for it.")
    parts = count_params(attach(copy.deepcopy(model), method, sizes[0], layout))
    beside = parts.norm + parts.other  # the same at every size
    counts = [(method.count(size, layout) + beside, size) for size in sizes]
    wanted = wanted_params(budget, parts.backbone)
    assert wanted is not None
    fitting = [count for count, _ in counts if count <= wanted]
    if not fitting:
        least = min(count for count, _ in counts)
        raise UserError(
            f"budget: {wanted:,} parameters are too few for {method.name}; its smallest size tunes {least:,}."
        )
    best = max(fitting)
    chosen = next(size for count, size in counts if count == best)
    before = spec.model_dump()
    changed = {name: value for name, value in chosen.model_dump().items() if value != before[name]}
    shown = ", ".join(f"{name}={_plain(value)}" for name, value in changed.items())
    line = (
        f"budget {wanted:,}: {method.name} {shown or 'as it is'} tunes {best:,} parameters "
        f"({percent(100 * best / parts.backbone)} % of the backbone), {wanted - best:,} under"
    )
    return chosen, (line,)


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
