"""mam (Mix-and-Match): prefix tuning at attention together with a parallel adapter at the FFN.

    attention(Q, [P_K; K], [P_V; V])            P_K, P_V (n, d_kv) for each attention: see `prefix.py`
    Y = FFN(X) + s · (relu(X D + b_D) U + b_U)  D (d, r), U (r, d), s = 4: see `parallel_adapter.py`

The count is the sum of both. Because of the prefix, step 0 is not the backbone and the method does not merge. The
paper's sizes are a short prefix (n = 30) and a wide adapter (r = 512).

He et al., Towards a unified view of parameter-efficient transfer learning, ICLR 2022, arXiv 2110.04366.
"""

from collections.abc import Iterable

from petbench.adapters.adapter import Attachment
from petbench.adapters.method import Method
from petbench.adapters.methods.parallel_adapter import ParallelAdapter, ParallelAdapterSpec
from petbench.adapters.methods.prefix import Attentions, check_all_layers, count_prefix, prefix_attachments
from petbench.adapters.registry import register
from petbench.config.sections import PositiveInt
from petbench.models.sites import Layout


class MamSpec(ParallelAdapterSpec):
    """The parallel adapter's hyper-parameters, and the prefix's length and attentions."""

    prefix_length: PositiveInt = 30
    attentions: Attentions = None


@register
class Mam(Method[MamSpec]):
    """Prefix and parallel adapter."""

    name = "mam"
    Spec = MamSpec

    def attachments(self, spec: MamSpec, layout: Layout) -> Iterable[Attachment]:
        check_all_layers(spec)
        yield from prefix_attachments(spec.prefix_length, None, spec.attentions, layout)
        yield from ParallelAdapter().attachments(spec, layout)

    def count(self, spec: MamSpec, layout: Layout) -> int:
        check_all_layers(spec)
        prefix = count_prefix(spec.prefix_length, None, spec.attentions, layout)
        return prefix + ParallelAdapter().count(spec, layout)

    def identity_at_init(self, spec: MamSpec) -> bool:
        return False

    def sizes(self, spec: MamSpec, layout: Layout) -> Iterable[MamSpec]:
        """Every width of the bottleneck, with the same prefix."""
        for width in range(1, layout.hidden + 1):
            yield spec.model_copy(update={"bottleneck_dim": width, "reduction_factor": None})
