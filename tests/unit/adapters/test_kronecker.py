"""Kronecker products: fast against dense on any shape, order, counts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from petbench.adapters.maths.kronecker import (
    MANY,
    Order,
    cheaper_order,
    dense_product,
    divisors,
    factor_params,
    kron_product,
    kron_sum_product,
    multiply_adds,
    other_factor,
    squarest_first,
    squarest_shape,
)

SIZES = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(
    a1=SIZES,
    a2=SIZES,
    b1=SIZES,
    b2=SIZES,
    rows=st.integers(1, 4),
    order=st.sampled_from(["a_first", "b_first"]),
)
def test_product_equals_the_dense_one(a1: int, a2: int, b1: int, b2: int, rows: int, order: Order) -> None:
    generator = torch.Generator().manual_seed(a1 * 1000 + b2)
    x, a, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, rows, a1 * b1), (a1, a2), (b1, b2))
    )
    fast, slow = kron_product(x, a, b, order), dense_product(x, a, b)
    assert fast.shape == (2, rows, a2 * b2)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    weight = torch.randn(fast.shape, generator=generator, dtype=torch.float64)
    for mine, theirs in zip(
        torch.autograd.grad((fast * weight).sum(), (x, a, b)),
        torch.autograd.grad((slow * weight).sum(), (x, a, b)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("order", ["a_first", "b_first"])
@pytest.mark.parametrize(
    ("a_shape", "b_shape"), [((2, 12), (12, 2)), ((12, 2), (2, 12)), ((4, 3), (9, 11)), ((8, 8), (1, 1))]
)
def test_many_rows_take_other_products_with_the_same_result(
    a_shape: tuple[int, int], b_shape: tuple[int, int], order: Order
) -> None:
    """Above MANY rows thin matrices go through A ⊗ I; the sum with a base is part of the last product."""
    generator = torch.Generator().manual_seed(0)
    d_in, d_out = a_shape[0] * b_shape[0], a_shape[1] * b_shape[1]
    x, a, b, base, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((5, MANY, d_in), a_shape, b_shape, (5, MANY, d_out), (5, MANY, d_out))
    )
    leaves = [t.requires_grad_(True) for t in (x, a, b, base)]
    fast, slow = kron_product(x, a, b, order, base), base + dense_product(x, a, b)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad((fast * weight).sum(), leaves),
        torch.autograd.grad((slow * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        assert torch.equal(kron_product(x, a, b, order, base), fast)


@pytest.mark.parametrize("frozen", range(4))
def test_a_frozen_input_gets_no_gradient_and_leaves_the_others_theirs(frozen: int) -> None:
    leaves = [torch.randn(3, 6), torch.randn(2, 3), torch.randn(3, 2), torch.randn(3, 6)]
    for place, leaf in enumerate(leaves):
        leaf.requires_grad_(place != frozen)
    kron_product(*leaves[:3], "a_first", leaves[3]).square().sum().backward()
    assert [leaf.grad is None for leaf in leaves] == [place == frozen for place in range(4)]


def test_a_base_of_higher_precision_keeps_it() -> None:
    x, a, b = torch.ones(1, 4).bfloat16(), torch.ones(2, 2).bfloat16(), torch.ones(2, 2).bfloat16()
    base = torch.full((1, 4), 1 / 3)
    assert torch.equal(kron_product(x, a, b, "a_first", base), base + 4)


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 3), a1=SIZES, a2=SIZES, b1=SIZES, b2=SIZES, order=st.sampled_from(["a_first", "b_first"])
)
def test_sum_of_products(m: int, a1: int, a2: int, b1: int, b2: int, order: Order) -> None:
    generator = torch.Generator().manual_seed(a1 * 1000 + b2)
    x, a, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 3, a1 * b1), (m, a1, a2), (m, b1, b2))
    )
    slow = torch.stack([dense_product(x, a[i], b[i]) for i in range(m)]).sum(0)
    torch.testing.assert_close(kron_sum_product(x, a, b, order), slow, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", ["a_first", "b_first"])
@pytest.mark.parametrize(("a_shape", "b_shape"), [((3, 2), (2, 5)), ((2, 9), (4, 1))])
def test_gradients_equal_finite_differences(
    a_shape: tuple[int, int], b_shape: tuple[int, int], order: Order
) -> None:
    x = torch.randn(3, a_shape[0] * b_shape[0], dtype=torch.float64, requires_grad=True)
    a = torch.randn(*a_shape, dtype=torch.float64, requires_grad=True)
    b = torch.randn(*b_shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *t: kron_product(*t, order), (x, a, b))


def test_a_row_is_read_row_by_row() -> None:
    """e_i (A ⊗ B) is row i of A ⊗ B: for A = [[0, 1]], B = [[2], [3]] they are (0, 2) and (0, 3)."""
    a, b = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0], [3.0]])
    assert kron_product(torch.eye(2), a, b, "a_first").tolist() == [[0.0, 2.0], [0.0, 3.0]]


def test_the_cheaper_order_of_a_flat_factor_saves_192_fold() -> None:
    shapes = (2, 384), (384, 2)
    assert multiply_adds(*shapes, "a_first") == 589_824
    assert multiply_adds(*shapes, "b_first") == 3_072
    assert cheaper_order(*shapes) == "b_first"


def test_every_reversed_shape_at_768_costs_1536() -> None:
    for shape in ((32, 24), (24, 32), (2, 384), (3, 256), (1, 768)):
        assert factor_params(768, 768, shape) == 1536, shape


@given(d_in=st.integers(1, 400), d_out=st.integers(1, 400))
def test_squarest_shape_divides(d_in: int, d_out: int) -> None:
    a1, a2 = squarest_shape(d_in, d_out)
    b1, b2 = other_factor(d_in, d_out, (a1, a2))
    assert (a1 * b1, a2 * b2) == (d_in, d_out)
    assert a1 >= b1
    assert a2 <= b2


def test_squarest_first_begins_with_the_shape_of_auto() -> None:
    legal = divisors(768)
    same_count = [s for s in squarest_first(legal, legal) if factor_params(768, 768, s) == 1536]
    assert same_count[0] == squarest_shape(768, 768) == (32, 24)
    assert math.prod(same_count[-1]) == 768  # 1x768 or 768x1: rank 1


def test_divisors() -> None:
    assert divisors(36) == [1, 2, 3, 4, 6, 9, 12, 18, 36]
