"""Kronecker products without ever building them: the fast product, its cheapest order, shapes and counts.

Notation: A is (a1, a2), B is (b1, b2), x has a1*b1 features in its last dimension. A row x is read as the
matrix X (a1, b1) in row-major order; then x (A ⊗ B) is the matrix AᵀXB (a2, b2), read back as a row.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

Order = Literal["a_first", "b_first"]
Shape = tuple[int, int]


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [i for i in range(1, int(number**0.5) + 1) if number % i == 0]
    return small + [number // i for i in reversed(small) if i * i != number]


def other_factor(d_in: int, d_out: int, a_shape: Shape) -> Shape:
    """The shape of B: (d_in / a1, d_out / a2). The caller has checked that they divide."""
    return d_in // a_shape[0], d_out // a_shape[1]


def squarest_shape(d_in: int, d_out: int) -> Shape:
    """A's shape nearest to the square: the smallest divisor of d_in from its root up, the largest of
    d_out from its root down. 768 x 768 gives 32 x 24, and B 24 x 32."""
    a1 = next(i for i in divisors(d_in) if i * i >= d_in)
    a2 = next(i for i in reversed(divisors(d_out)) if i * i <= d_out)
    return a1, a2


def squarest_first(firsts: Iterable[int], seconds: Iterable[int]) -> list[Shape]:
    """All shapes with these sizes, the nearest to a square first: among equal counts they have most rank."""
    shapes = ((first, second) for first in firsts for second in seconds)
    return sorted(shapes, key=lambda shape: (max(shape) / min(shape), -shape[0]))


def factor_params(d_in: int, d_out: int, a_shape: Shape) -> int:
    """a1*a2 + b1*b2."""
    b_shape = other_factor(d_in, d_out, a_shape)
    return a_shape[0] * a_shape[1] + b_shape[0] * b_shape[1]


def multiply_adds(a_shape: Shape, b_shape: Shape, order: Order) -> int:
    """Multiply-adds of one row's product. A first: a1*a2*b1 + a2*b1*b2; B first: a1*b1*b2 + a1*a2*b2."""
    (a1, a2), (b1, b2) = a_shape, b_shape
    return a2 * b1 * (a1 + b2) if order == "a_first" else a1 * b2 * (b1 + a2)


def cheaper_order(a_shape: Shape, b_shape: Shape) -> Order:
    """The order with fewer multiply-adds. For A 2x384, B 384x2 they differ 192-fold."""
    a_first, b_first = (multiply_adds(a_shape, b_shape, order) for order in ("a_first", "b_first"))
    return "a_first" if a_first <= b_first else "b_first"


def dense_product(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x (A ⊗ B) the slow, obvious way: build the whole matrix. x (..., a1*b1) -> (..., a2*b2)."""
    return x @ torch.kron(a, b)


def kron_product(x: Tensor, a: Tensor, b: Tensor, order: Order) -> Tensor:
    """x (A ⊗ B) as two small products. x (..., a1*b1) -> (..., a2*b2).

    Saves only x, A and B for the backward pass: the product in between is made again there, so that the
    extra activation memory is x alone (LoRA's is x and the rank-sized middle).
    """
    a, b = _compute_dtype(x, a), _compute_dtype(x, b)
    if not torch.is_grad_enabled():
        return _forward(x.to(a.dtype), a, b, order)  # a custom function costs more than so small a product
    return _KronProduct.apply(x.to(a.dtype), a, b, order)


def _compute_dtype(x: Tensor, factor: Tensor) -> Tensor:
    """Under autocast a custom function must cast for itself, here once, where autograd sees it."""
    if torch.is_autocast_enabled(x.device.type):
        return factor.to(torch.get_autocast_dtype(x.device.type))
    return factor


def _left(a_transposed: Tensor, rows: Tensor) -> Tensor:
    """(a2, a1) times each matrix of rows (n, a1, k) -> (n, a2, k).

    For short, wide A one large product over transposed rows is faster than n thin ones.
    """
    a2, a1 = a_transposed.shape
    n, _, k = rows.shape
    if k < 8:
        return (rows.transpose(1, 2).reshape(n * k, a1) @ a_transposed.t()).view(n, k, a2).transpose(1, 2)
    return torch.matmul(a_transposed, rows)


def _forward(x: Tensor, a: Tensor, b: Tensor, order: Order) -> Tensor:
    (a1, a2), (b1, b2) = a.shape, b.shape
    if order == "a_first":
        middle = _left(a.t(), x.reshape(-1, a1, b1))  # (n, a2, b1)
        out = middle.reshape(-1, b1) @ b
    else:
        middle = (x.reshape(-1, b1) @ b).view(-1, a1, b2)
        out = _left(a.t(), middle)  # (n, a2, b2)
    return out.reshape(*x.shape[:-1], a2 * b2)


def kron_sum_product(x: Tensor, a: Tensor, b: Tensor, order: Order) -> Tensor:
    """Σ_m x (A_m ⊗ B_m) in two products. a (m, a1, a2), b (m, b1, b2), x (..., a1*b1) -> (..., a2*b2).

    The factors of all terms stand side by side in the first product and one above the other in the second,
    which so also does the sum. For one term `kron_product` keeps less for the backward pass.
    """
    (m, a1, a2), (b1, b2) = a.shape, b.shape[1:]
    if order == "a_first":
        middle = _left(a.transpose(1, 2).reshape(m * a2, a1), x.reshape(-1, a1, b1))
        rows = middle.reshape(-1, m, a2, b1).transpose(1, 2).reshape(-1, m * b1)
        out = rows @ b.reshape(m * b1, b2)
    else:
        middle = x.reshape(-1, b1) @ b.transpose(0, 1).reshape(b1, m * b2)
        rows = middle.view(-1, a1, m, b2).transpose(1, 2).reshape(-1, m * a1, b2)
        out = _left(a.reshape(m * a1, a2).t(), rows)
    return out.reshape(*x.shape[:-1], a2 * b2)


class _KronProduct(torch.autograd.Function):
    """Y = AᵀXB per row; dX = A dY Bᵀ, dA = Σ X B dYᵀ, dB = Σ (AᵀX)ᵀ dY."""

    generate_vmap_rule = True  # lanes run adapters under torch.func

    @staticmethod
    def forward(x: Tensor, a: Tensor, b: Tensor, order: Order) -> Tensor:
        return _forward(x, a, b, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Order], output: Tensor) -> None:
        x, a, b, ctx.order = inputs
        ctx.save_for_backward(x, a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b = ctx.saved_tensors
        (grad,) = gradients
        (a1, a2), (b1, b2) = a.shape, b.shape
        grad_x = grad_a = grad_b = None
        rows, out = x.reshape(-1, a1, b1), grad.reshape(-1, a2, b2)
        # dY Bᵀ serves dX and dA; AᵀX serves dB alone.
        carried = (out.reshape(-1, b2) @ b.t()).view(-1, a2, b1) if any(ctx.needs_input_grad[:2]) else None
        if carried is not None and ctx.needs_input_grad[0]:
            grad_x = _left(a, carried).reshape(x.shape)
        if carried is not None and ctx.needs_input_grad[1]:
            # Σ_n X_n (dY_n Bᵀ)ᵀ: sum over rows and b1 at once.
            grad_a = rows.transpose(0, 1).reshape(a1, -1) @ carried.transpose(0, 1).reshape(a2, -1).t()
        if ctx.needs_input_grad[2]:
            middle = _left(a.t(), rows)  # (n, a2, b1)
            grad_b = middle.reshape(-1, b1).t() @ out.reshape(-1, b2)
        return grad_x, grad_a, grad_b, None
