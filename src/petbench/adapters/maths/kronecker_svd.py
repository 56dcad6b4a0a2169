"""The singular value decomposition of a scaled Kronecker product, from those of its factors."""

import torch
from torch import Tensor


class KroneckerSVD:
    """The decomposition of s (A ⊗ B), (d_in, d_out), in float64; the product is never built.

    Its singular values are |s| times the products of those of A and B; `values` has them in descending order.
    """

    @torch.no_grad()
    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        (self._ua, sa, self._va), (self._ub, sb, self._vb) = (
            torch.linalg.svd(m.detach().double(), full_matrices=False) for m in (a, b)
        )
        products = (sa[:, None] * sb[None, :]).flatten() * abs(scale)
        self.values, self._order = products.sort(descending=True)
        self._width = len(sb)
        self._sign = 1.0 if scale >= 0 else -1.0

    @property
    def rank(self) -> int:
        """The number of singular values above 1e-6 times the largest, at least 1."""
        return max(1, int((self.values > 1e-6 * self.values[0]).sum())) if self.values[0] > 0 else 1

    @torch.no_grad()
    def best(self, rank: int) -> tuple[Tensor, Tensor, tuple[float, float]]:
        """The nearest matrix of that rank in PyTorch's layout: down (k, d_in), up (d_out, k), float32, and the squared
        Frobenius norms of the whole product and of what the nearest matrix leaves out."""
        kept = min(rank, len(self.values))
        i, j = self._order[:kept] // self._width, self._order[:kept] % self._width
        pairs = list(zip(i, j, strict=True))
        left = torch.stack([torch.kron(self._ua[:, m], self._ub[:, n]) for m, n in pairs])  # (k, d_in)
        right = torch.stack([torch.kron(self._va[m], self._vb[n]) for m, n in pairs])  # (k, d_out)
        roots = self.values[:kept].sqrt()[:, None]
        squares = (float((self.values**2).sum()), float((self.values[kept:] ** 2).sum()))
        return (roots * left).float(), (roots * self._sign * right).t().float(), squares
