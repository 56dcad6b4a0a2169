"""Budget: choose a method's size so that its adapter parameters come nearest to a wanted number, from below."""

from typing import Any

from torch import nn

from petbench.adapters.method import Method
from petbench.config.spec import AdapterSpec, BudgetSpec
from petbench.errors import UserError
from petbench.models.sites import Layout


def wanted_params(budget: BudgetSpec, backbone: int) -> int | None:
    """The number of adapter parameters that is asked for; None without a budget."""
    if budget.params is not None:
        return budget.params
    return None if budget.percent is None else int(budget.percent / 100 * backbone)


def fit_budget(
    method: Method[Any], spec: AdapterSpec, layout: Layout, model: nn.Module, budget: BudgetSpec
) -> tuple[AdapterSpec, tuple[str, ...]]:
    """The spec whose count is the largest that does not exceed the budget, and a line that says so.

    Norms and head are not counted: the budget is of adapter parameters, as the `adapter` column shows them.
    Among equal counts the first size of the method's own order wins. Raises UserError when the method has
    no size to choose or even its smallest is too large.
    """
    backbone = sum(p.numel() for name, p in model.named_parameters() if not _in_head(name, layout))
    wanted = wanted_params(budget, backbone)
    if wanted is None:
        return spec, ()
    sizes = [(method.count(size, layout), size) for size in method.sizes(spec, layout)]
    if not sizes:
        raise UserError(f"budget: {method.name} has no size to choose; leave budget.* out for it.")
    fitting = [(count, size) for count, size in sizes if count <= wanted]
    if not fitting:
        least = min(count for count, _ in sizes)
        raise UserError(
            f"budget: {wanted:,} parameters are too few for {method.name}; its smallest size has {least:,}."
        )
    best = max(count for count, _ in fitting)
    chosen = next(size for count, size in fitting if count == best)
    before = spec.model_dump()
    changed = {name: value for name, value in chosen.model_dump().items() if value != before[name]}
    shown = ", ".join(f"{name}={_plain(value)}" for name, value in changed.items())
    line = (
        f"budget {wanted:,}: {method.name} {shown or 'as it is'} has {best:,} adapter parameters "
        f"({100 * best / backbone:.4f} % of the backbone), {wanted - best:,} under"
    )
    return chosen, (line,)


def _in_head(name: str, layout: Layout) -> bool:
    return any(name.startswith(f"{module}.") for module in layout.head_modules)


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
