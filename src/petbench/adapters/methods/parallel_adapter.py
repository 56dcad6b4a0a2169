"""parallel_adapter: a relu bottleneck in parallel to the whole FFN block.

    Y = FFN(X) + s · (relu(X D + b_D) U + b_U)        D (d, r), U (r, d), s = 4

X is the input of the FFN's first matrix. 2·d·r + r + d parameters an FFN, encoder and decoder. D is
Kaiming-uniform(√5), U and the biases zero, so step 0 is the backbone. It does not merge: relu is not linear.
The KronA paper's baseline PA has bottleneck_dim 2 and scale 16, and also trains the layer norms.

He et al., Towards a unified view of parameter-efficient transfer learning, ICLR 2022, arXiv 2110.04366.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Adapter, Attachment
from petbench.adapters.method import Method
from petbench.adapters.methods.bottleneck_base import NONLINEARITIES, BottleneckSpec, Nonlinearity
from petbench.adapters.registry import register
from petbench.models.sites import Layout


class ParallelAdapterSpec(BottleneckSpec):
    """parallel_adapter's hyper-parameters; `scale` is s."""

    nonlinearity: Nonlinearity = "relu"
    scale: float = 4.0
    train_norms: bool = False


class ParallelBottleneck(Adapter):
    """target + s · (σ(source D + b_D) U + b_U); (batch, tokens, d) in and out.

    The weights are stored as PyTorch stores them: down (r, d), up (d, r).
    """

    def __init__(self, d: int, width: int, scale: float, nonlinearity: Nonlinearity) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(width, d))
        self.down_bias = nn.Parameter(torch.zeros(width))
        self.up = nn.Parameter(torch.zeros(d, width))
        self.up_bias = nn.Parameter(torch.zeros(d))
        self.scale = scale
        self.activation = NONLINEARITIES[nonlinearity]
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        middle = self.activation(F.linear(source, self.down, self.down_bias))
        if not torch.is_grad_enabled():
            return torch.add(target, F.linear(middle, self.up, self.up_bias), alpha=self.scale)
        # Scale the small tensors, so that the backward pass need not scale one of (batch, tokens, d).
        return target + F.linear(middle * self.scale, self.up, self.up_bias * self.scale)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        middle = self.activation(source @ self.down.t() + self.down_bias)
        return target + self.scale * (middle @ self.up.t() + self.up_bias)


@register
class ParallelAdapter(Method[ParallelAdapterSpec]):
    """A bottleneck in parallel to the FFN."""

    name = "parallel_adapter"
    Spec = ParallelAdapterSpec

    def attachments(self, spec: ParallelAdapterSpec, layout: Layout) -> Iterable[Attachment]:
        for site in layout.sites("ffn_block", layers=spec.layers):
            adapter = ParallelBottleneck(site.d_in, spec.width(site), spec.scale, spec.nonlinearity)
            yield Attachment(site, adapter, at="parallel")

    def count(self, spec: ParallelAdapterSpec, layout: Layout) -> int:
        sites = layout.sites("ffn_block", layers=spec.layers)
        return sum(2 * s.d_in * spec.width(s) + spec.width(s) + s.d_in for s in sites)

    def sizes(self, spec: ParallelAdapterSpec, layout: Layout) -> Iterable[ParallelAdapterSpec]:
        """Every width of the bottleneck up to the hidden size."""
        for width in range(1, layout.hidden + 1):
            yield spec.model_copy(update={"bottleneck_dim": width, "reduction_factor": None})
