"""KronA, its B forms and the parallel adapter: formulas, counts, shapes by place."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from petbench.adapters.adapter import Attachment
from petbench.adapters.registry import method_named
from petbench.errors import UserError
from petbench.models.sites import Layout


def attached(method: str, layout: Layout, **fields: Any) -> list[Attachment]:
    torch.manual_seed(0)
    found = method_named(method)
    return list(found.attachments(found.Spec(method=method, **fields), layout))


def count(method: str, layout: Layout, **fields: Any) -> int:
    found = method_named(method)
    return found.count(found.Spec(method=method, **fields), layout)


# Tiny BERT: two FFNs of width 32; auto is A 8x4 and B 4x8, 64 numbers a module; e is (4, 4).
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"biases": 0}, 2 * 2 * 64),
        ({"biases": 1}, 2 * 2 * (64 + 32)),
        ({"biases": 2}, 2 * 2 * (64 + 32 + 16)),
        ({"modules_per_ffn": 1}, 2 * (64 + 32)),
        ({"modules_per_ffn": 3, "biases": 0}, 2 * 3 * 64),
        ({"layers": (1,)}, 2 * (64 + 32)),
    ],
)
def test_counts(fields: dict[str, Any], expected: int, tiny_bert: Layout) -> None:
    assert count("krona_b", tiny_bert, **fields) == expected
    places = 1 if "layers" in fields else 2
    scalars = places * fields.get("modules_per_ffn", 2)
    assert count("krona_b_res", tiny_bert, **fields) == expected + scalars
    held = sum(p.numel() for a in attached("krona_b", tiny_bert, **fields) for p in a.adapter.parameters())
    assert held == expected


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("method", ["krona_b", "krona_b_res"])
def test_formula_module_by_module(method: str, biases: int, tiny_bert: Layout) -> None:
    """Y + Σ_m [s (AᵀX + e) B + c + r X] with X (a1, b1) the row as a matrix."""
    adapter = attached(method, tiny_bert, biases=biases, scale=16.0, factor_shape=(8, 4))[0].adapter
    values = {name: torch.randn_like(p) for name, p in adapter.named_parameters()}
    x, y = torch.randn(1, 1, 32), torch.randn(1, 1, 32)
    expected = y.clone()
    for m in range(2):
        middle = values["A"][m].t() @ x.view(8, 4)
        if biases == 2:
            middle = middle + values["e"][m]
        expected += 16.0 * (middle @ values["B"][m]).flatten()
        if biases >= 1:
            expected += values["c"][m]
        if method == "krona_b_res":
            expected += values["r"][m] * x
    found = torch.func.functional_call(adapter, values, (x, y))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_residual_scales_start_at_one(tiny_bert: Layout) -> None:
    adapter = attached("krona_b_res", tiny_bert)[0].adapter
    assert dict(adapter.named_parameters())["r"].tolist() == [1.0, 1.0]
    x, y = torch.randn(2, 3, 32), torch.randn(2, 3, 32)
    torch.testing.assert_close(adapter(x, y), y + 2 * x)  # two modules, B zero
    started_at_zero = attached("krona_b_res", tiny_bert, residual_init=0.0)[0].adapter
    assert torch.equal(started_at_zero(x, y), y)


def test_both_inits(tiny_bert: Layout) -> None:
    kaiming = dict(attached("krona_b", tiny_bert)[0].adapter.named_parameters())
    assert not kaiming["B"].any()
    assert kaiming["A"].abs().max() <= 4**-0.5  # Kaiming-uniform(√5) on 8x4: within 1/√4
    normal = dict(attached("krona_b", tiny_bert, init="normal")[0].adapter.named_parameters())
    both = torch.cat([normal["A"].flatten(), normal["B"].flatten()])
    assert both.std().item() == pytest.approx(32**-0.5, rel=0.15)
    spec = method_named("krona_b").Spec
    assert method_named("krona_b").identity_at_init(spec(method="krona_b"))
    assert not method_named("krona_b").identity_at_init(spec(method="krona_b", init="normal"))
    res = method_named("krona_b_res")
    assert not res.identity_at_init(res.Spec(method="krona_b_res"))


def test_all_is_parallel_to_the_whole_ffn_in_both_stacks(tiny_t5: Layout) -> None:
    for method, fields in (("krona_b", {}), ("krona_b_res", {}), ("parallel_adapter", {"bottleneck_dim": 2})):
        attachments = attached(method, tiny_t5, **fields)
        assert [a.site.role for a in attachments] == ["ffn_block"] * 4, method
        assert {a.at for a in attachments} == {"parallel"}


def test_three_biases_are_too_many() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 2"):
        method_named("krona_b").Spec(method="krona_b", biases=3)


def test_shapes_by_place(tiny_bert: Layout) -> None:
    shape = {"query": (2, 16), "value.1": (16, 2), "default": (4, 8)}
    shapes = {
        f"{a.site.role}.{a.site.layer}": tuple(dict(a.adapter.named_parameters())["A"].shape)
        for a in attached("krona", tiny_bert, factor_shape=shape)
    }
    assert shapes == {"query.0": (2, 16), "query.1": (2, 16), "value.0": (4, 8), "value.1": (16, 2)}
    assert count("krona", tiny_bert, factor_shape=shape) == 4 * 64
    with pytest.raises(
        UserError, match=r"adapter\.factor_shape: 'value\.2' is unknown.*Did you mean 'value\.[01]'"
    ):
        attached("krona", tiny_bert, factor_shape={"value.2": (2, 16)})
    with pytest.raises(UserError, match=r"adapter\.factor_shape \[5, 8\] does not fit encoder layer 0 query"):
        attached("krona", tiny_bert, factor_shape={"query": (5, 8)})


def test_parallel_adapter_formula(tiny_bert: Layout) -> None:
    """y + 4·(relu(xD + b_D)U + b_U): with D, U one and b 1, x = 1 in 32 places gives y + 4·(3·33 + 1)."""
    adapter = attached("parallel_adapter", tiny_bert, bottleneck_dim=3)[0].adapter
    x, y = torch.ones(1, 1, 32), torch.zeros(1, 1, 32)
    assert torch.equal(adapter(x, y), y)  # U starts at zero
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.fill_(1.0)
    assert adapter(x, y)[0, 0].tolist() == [4.0 * (3 * 33 + 1)] * 32
    assert count("parallel_adapter", tiny_bert, bottleneck_dim=3) == 2 * (2 * 32 * 3 + 3 + 32)
