"""Products with A ⊗ B that never build it: the fast product, its cheaper order, shapes and counts.

Notation: A is (a1, a2), B is (b1, b2), x has a1*b1 features in its last dimension. A row x is read as the
matrix X (a1, b1) in row-major order; then x (A ⊗ B) is the matrix AᵀXB (a2, b2), read back as a row.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

Order = Literal["a_first", "b_first"]
Shape = tuple[int, int]
THIN, MANY = 8, 64  # measured limits: fewer columns make a matrix thin, more rows make many


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [i for i in range(1, int(number**0.5) + 1) if number % i == 0]
    return small + [number // i for i in reversed(small) if i * i != number]


def other_factor(d_in: int, d_out: int, a_shape: Shape) -> Shape:
    """The shape of B: (d_in / a1, d_out / a2). The caller has checked that they divide."""
    return d_in // a_shape[0], d_out // a_shape[1]


def squarest_shape(d_in: int, d_out: int) -> Shape:
    """The shape of A nearest to a square: a1 is the smallest divisor of d_in that is at least √d_in, a2 the
    largest divisor of d_out that is at most √d_out. 768 x 768 gives A 32 x 24 and B 24 x 32."""
    a1 = next(i for i in divisors(d_in) if i * i >= d_in)
    a2 = next(i for i in reversed(divisors(d_out)) if i * i <= d_out)
    return a1, a2


def squarest_first(firsts: Iterable[int], seconds: Iterable[int]) -> list[Shape]:
    """All shapes with these sizes, the nearest to a square first: at equal counts it has the highest rank."""
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


def kron_product(x: Tensor, a: Tensor, b: Tensor, order: Order, base: Tensor | None = None) -> Tensor:
    """x (A ⊗ B) as two small products, added to `base`. x (..., a1*b1) -> (..., a2*b2).

    Saves only x, A and B for the backward pass, which computes the intermediate product again, so that the
    extra activation memory is x alone (LoRA's is x and an intermediate of its rank's size).
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):  # autocast skips custom functions; autograd records a cast made here
        a, b = a.to(torch.get_autocast_dtype(kind)), b.to(torch.get_autocast_dtype(kind))
    if x.dtype != a.dtype:
        x = x.to(a.dtype)
    if base is not None and base.dtype != a.dtype:
        return base + kron_product(x, a, b, order)
    if not torch.is_grad_enabled():
        return _forward(x, a, b, base, order)  # calling a custom function costs more than so small a product
    result: Tensor = _KronProduct.apply(x, a, b, base, order)
    return result


def _left(a: Tensor, rows: Tensor, base: Tensor | None = None) -> Tensor:
    """Aᵀ times each matrix of rows (n, a1, k), added to base -> (n, a2, k).

    `matmul` would be three times as slow where A needs a gradient: it transposes all rows into one product. Many
    rows of few columns k take one product with A ⊗ I, at k times the operations, instead of n thin products.
    """
    (a1, a2), (n, _, k) = a.shape, rows.shape
    if k < THIN and n > MANY:
        wide = torch.kron(a.contiguous(), torch.eye(k, dtype=a.dtype, device=a.device))  # (a1·k, a2·k)
        flat = rows.reshape(n, a1 * k)
        out = flat @ wide if base is None else torch.addmm(base.reshape(n, a2 * k), flat, wide)
        return out.view(n, a2, k)
    each = a.t().expand(n, a2, a1)
    return torch.bmm(each, rows) if base is None else torch.baddbmm(base, each, rows)


def _right(rows: Tensor, b: Tensor) -> Tensor:
    """rows (n, b1) times B -> (n, b2). A narrow B is first stored by columns: five times as fast on the CPU."""
    return rows @ (b.t().contiguous().t() if b.shape[1] < THIN else b)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """leftᵀ right: (n, p), (n, q) -> (p, q). The smaller side goes first: up to six times as fast."""
    return left.t() @ right if left.shape[1] <= right.shape[1] else (right.t() @ left).t()


def _sum_of_pairs(left: Tensor, right: Tensor) -> Tensor:
    """Σ_n left_n right_nᵀ: left (n, p, k), right (n, q, k) -> (p, q)."""
    (n, p, k), q = left.shape, right.shape[1]
    if k < THIN and n > MANY:  # the sum of the k diagonal blocks of one product
        blocks = _inner(left.reshape(n, p * k), right.reshape(n, q * k)).reshape(p, k, q, k)
        return blocks.diagonal(dim1=1, dim2=3).sum(-1)
    if p * q <= 2 * k * (p + q):  # n products of p x q cost less than transposing both sides
        return torch.bmm(left, right.transpose(1, 2)).sum(0)
    return left.transpose(0, 1).reshape(p, -1) @ right.transpose(0, 1).reshape(q, -1).t()


def _forward(x: Tensor, a: Tensor, b: Tensor, base: Tensor | None, order: Order) -> Tensor:
    (a1, a2), (b1, b2) = a.shape, b.shape
    if order == "a_first":
        middle = _left(a, x.reshape(-1, a1, b1)).reshape(-1, b1)  # (n·a2, b1)
        out = middle @ b if base is None else torch.addmm(base.reshape(-1, b2), middle, b)
    else:
        middle = _right(x.reshape(-1, b1), b).view(-1, a1, b2)
        out = _left(a, middle, None if base is None else base.reshape(-1, a2, b2))  # (n, a2, b2)
    return out.reshape(*x.shape[:-1], a2 * b2) if base is None else out.view_as(base)


def kron_sum_product(x: Tensor, a: Tensor, b: Tensor, order: Order) -> Tensor:
    """Σ_m x (A_m ⊗ B_m) in two products. a (m, a1, a2), b (m, b1, b2), x (..., a1*b1) -> (..., a2*b2).

    The first product takes the factors of all terms side by side, the second takes them one above the other
    and so also sums the terms. For one term `kron_product` keeps less for the backward pass.
    """
    (m, a1, a2), (b1, b2) = a.shape, b.shape[1:]
    if order == "a_first":
        middle = _left(a.transpose(0, 1).reshape(a1, m * a2), x.reshape(-1, a1, b1))
        rows = middle.reshape(-1, m, a2, b1).transpose(1, 2).reshape(-1, m * b1)
        out = rows @ b.reshape(m * b1, b2)
    else:
        middle = x.reshape(-1, b1) @ b.transpose(0, 1).reshape(b1, m * b2)
        rows = middle.view(-1, a1, m, b2).transpose(1, 2).reshape(-1, m * a1, b2)
        out = _left(a.reshape(m * a1, a2), rows)
    return out.reshape(*x.shape[:-1], a2 * b2)


class _KronProduct(torch.autograd.Function):
    """Y = base + AᵀXB per row. The backward pass multiplies in the same order as the forward pass:

    a_first   M = dY Bᵀ (a2, b1):  dX = A M,   dA = Σ X Mᵀ,       dB = Σ (AᵀX)ᵀ dY
    b_first   N = A dY (a1, b2):   dX = N Bᵀ,  dA = Σ (XB) dYᵀ,   dB = Σ Xᵀ N
    """

    generate_vmap_rule = True  # so that torch.func.vmap can run several adapters at once

    @staticmethod
    def forward(x: Tensor, a: Tensor, b: Tensor, base: Tensor | None, order: Order) -> Tensor:
        return _forward(x, a, b, base, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, a, b, _, ctx.order = inputs
        ctx.save_for_backward(x, a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b = ctx.saved_tensors
        (grad,) = gradients
        need_x, need_a, need_b, need_base, _ = ctx.needs_input_grad
        (a1, a2), (b1, b2) = a.shape, b.shape
        rows, out = x.reshape(-1, a1, b1), grad.reshape(-1, a2, b2)
        grad_x = grad_a = grad_b = None
        if ctx.order == "a_first":
            if need_x or need_a:
                carried = _right(out.reshape(-1, b2), b.t()).view(-1, a2, b1)
                grad_x = _left(a.t(), carried).reshape(x.shape) if need_x else None
                grad_a = _sum_of_pairs(rows, carried) if need_a else None
            if need_b:
                grad_b = _inner(_left(a, rows).reshape(-1, b1), out.reshape(-1, b2))
        else:
            if need_x or need_b:
                carried = _left(a.t(), out).reshape(-1, b2)
                grad_x = _right(carried, b.t()).view(x.shape) if need_x else None
                grad_b = _inner(rows.reshape(-1, b1), carried) if need_b else None
            if need_a:
                grad_a = _sum_of_pairs(_right(rows.reshape(-1, b1), b).view(-1, a1, b2), out)
        return grad_x, grad_a, grad_b, grad if need_base else None, None
