"""PHM products: fast forms against loops that build Σ A_i ⊗ B_i."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from petbench.adapters.maths.phm import phm_product, phm_product_lowrank, phm_weight

SIZES = st.integers(1, 6)


def by_loops(a: Tensor, b: Tensor) -> Tensor:
    """Σ_i A_i ⊗ B_i, number by number."""
    n, p, q = b.shape
    w = torch.zeros(n * p, n * q, dtype=a.dtype)
    for i in range(n):
        for row in range(n * p):
            for column in range(n * q):
                w[row, column] += a[i, row // p, column // q] * b[i, row % p, column % q]
    return w


def numbers(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 4), p=SIZES, q=SIZES)
def test_weight_and_product_equal_loops(n: int, p: int, q: int) -> None:
    a, b, x = numbers(n, n, n), numbers(n, p, q), numbers(2, 3, n * p)
    w = by_loops(a.detach(), b.detach())
    torch.testing.assert_close(phm_weight(a, b), w, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(phm_product(x, a, b), x @ w, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 4), p=SIZES, q=SIZES, r=st.integers(1, 3))
def test_lowrank_product_equals_loops(n: int, p: int, q: int, r: int) -> None:
    a, s, t, x = numbers(n, n, n), numbers(n, p, r), numbers(n, r, q), numbers(2, 3, n * p)
    w = by_loops(a.detach(), (s @ t).detach())
    torch.testing.assert_close(phm_product_lowrank(x, a, s, t), x @ w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("p", "q"), [(3, 2), (2, 3)])
def test_gradients_equal_finite_differences(p: int, q: int) -> None:
    a, b, x = numbers(2, 2, 2), numbers(2, p, q), numbers(3, 2 * p)
    assert torch.autograd.gradcheck(phm_product, (x, a, b))
    assert torch.autograd.gradcheck(phm_product_lowrank, (x, a, numbers(2, p, 2), numbers(2, 2, q)))


def test_no_tensor_as_large_as_w_is_made() -> None:
    """At 768 by 96 with 8 rows, W is the largest of all; in products that build it, 73,728 numbers show up."""
    n, d, k = 4, 768, 96
    a, s, t = numbers(n, n, n), numbers(n, d // n, 1), numbers(n, 1, k // n)
    saved: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        phm_product_lowrank(numbers(8, d), a, s, t)
    assert max(saved) == 8 * d
    assert d * k not in saved
