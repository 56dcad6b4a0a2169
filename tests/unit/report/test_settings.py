"""Settings: showing and selecting."""

import pytest

from petbench.errors import UserError
from petbench.report.settings import parse_where, select, show


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "1e-3"), (0.00015, "1.5e-4"), (0.06, "0.06"), (16.0, "16"), (None, "none"), (True, "true"),
     ([32, 24], "32x24"), (["query", "value"], "query+value"), ("all", "all"), (0.0, "0"), (768, "768")],
)  # fmt: skip
def test_show(value: object, text: str) -> None:
    assert show(value) == text


def test_select_by_field_path_and_last_part(make) -> None:
    records = [make("krona", lr=1e-3), make("lora", lr=2e-3, task="cola")]
    records.append(make("krona", task="mrpc", adapter_config={"factor_shape": [32, 24]}))
    assert len(select(records, parse_where(["task=rte|cola"]))) == 2
    assert len(select(records, parse_where(["lr=0.002"]))) == 1
    assert len(select(records, parse_where(["optim.lr=1e-3,adapter=krona"]))) == 2
    assert len(select(records, parse_where(["factor_shape=32x24"]))) == 1
    assert len(select(records, parse_where(["train_examples=none"]))) == 3
    assert select(records, {}) == records


def test_unknown_key_names_the_nearest(make) -> None:
    with pytest.raises(UserError, match=r"no record has 'optim\.lrr'\. Did you mean 'optim\.lr'"):
        select([make()], parse_where(["optim.lrr=1"]))


@pytest.mark.parametrize("clause", ["rte", "task=", "=rte"])
def test_a_broken_clause_says_how_to_write_it(clause: str) -> None:
    with pytest.raises(UserError, match="key=value"):
        parse_where([clause])
