"""Products with W = Σ_i A_i ⊗ B_i (parametrised hypercomplex multiplication) that never build W.

A is (n, n, n), its slices A_i; B is (n, p, q), its slices B_i (p, q); x has n·p features, the product n·q.
In the low-rank form B_i = S_i T_i with S (n, p, r) and T (n, r, q). A row x is read as the matrix X (n, p);
then x W is Σ_i A_iᵀ X B_i (n, q), read back as a row.
"""

import torch
from torch import Tensor


def phm_weight(a: Tensor, b: Tensor) -> Tensor:
    """W the slow, obvious way, (n·p, n·q). For tests, and to fold W once in evaluation."""
    n, p, q = b.shape
    return torch.einsum("iac,ipq->apcq", a, b).reshape(n * p, n * q)


def phm_weights(a: Tensor, b: Tensor) -> Tensor:
    """The W of m modules, (m, n·p, n·q), from a (m, n, n, n) and b (m, n, p, q)."""
    m, n, p, q = b.shape
    return torch.einsum("miac,mipq->mapcq", a, b).reshape(m, n * p, n * q)


def phm_product(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x W. x (..., n·p) -> (..., n·q).

    One product applies all B_i, another mixes by the A_i, on the narrower side: d_in·d_out + n²·min(d_in, d_out)
    multiply-adds a row.
    """
    n, p, q = b.shape
    if q <= p:
        middle = x.reshape(-1, p) @ b.permute(1, 0, 2).reshape(p, n * q)  # X B_i: (rows·n, n·q)
        mixed = a.permute(2, 1, 0).reshape(n, n * n) @ middle.view(-1, n * n, q)  # rows of (n, q)
    else:
        middle = a.permute(2, 0, 1).reshape(n * n, n) @ x.reshape(-1, n, p)  # A_iᵀ X: (rows, n·n, p)
        mixed = middle.view(-1, n * p) @ b.reshape(n * p, q)  # (rows·n, q)
    return mixed.reshape(*x.shape[:-1], n * q)


def phm_product_lowrank(x: Tensor, a: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """x W with B_i = S_i T_i. x (..., n·p) -> (..., n·q).

    n·r·(d_in + d_out) + n³·r multiply-adds a row; the intermediate has n²·r numbers.
    """
    n, p, r = s.shape
    q = t.shape[2]
    down = x.reshape(-1, p) @ s.permute(1, 0, 2).reshape(p, n * r)  # X S_i: (rows·n, n·r)
    mixed = torch.einsum("xair,iac->xcir", down.view(-1, n, n, r), a)  # A_iᵀ (X S_i)
    out = mixed.reshape(-1, n * r) @ t.reshape(n * r, q)  # Σ_i (A_iᵀ X S_i) T_i
    return out.reshape(*x.shape[:-1], n * q)
