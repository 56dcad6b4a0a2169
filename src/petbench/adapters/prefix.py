"""Prefix tuning: learned keys and values before every layer's own.

    attention(Q, [P_K; K], [P_V; V])        P_K, P_V (n, d_kv) for each layer

2·L·n·d_kv parameters, or with the reparametrisation (a table n×d, then tanh MLP of width m) n·d + d·m + m +
m·2·L·d_kv + 2·L·d_kv. Values are N(0, 0.02) at the start. Not the identity at step 0; it does not merge.

The prefix goes in as transformers' own key-value cache, as PEFT's does: self-attention of an encoder or a
decoder-only model, the decoder's self-attention of T5. Where a family's attention takes no cache (DistilBERT,
DeBERTa, ALBERT, MPNet, ModernBERT) transformers leaves no clean place, and it is refused.

Li and Liang, Prefix-tuning: Optimizing continuous prompts for generation, ACL 2021, arXiv 2101.00190.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from petbench.adapters.base import Adapter, Attachment, Method, register
from petbench.adapters.hooks import HookedAdapters
from petbench.config import AdapterSpec, PositiveInt
from petbench.errors import UserError
from petbench.models.sites import Layout, Site, Stack

TAKES_A_CACHE = ("bert", "roberta", "xlm-roberta", "electra", "gpt2", "llama", "qwen2", "qwen3", "t5")


class PrefixTuningSpec(AdapterSpec):
    """How many positions; `mlp_width`: the reparametrisation's hidden width, null for none."""

    prefix_length: PositiveInt = 20
    mlp_width: PositiveInt | None = None


class PrefixAdapter(Adapter):
    """All layers' prefixes for a batch: (batch, n, 2·L·d_kv), layer by layer, key before value.

    Only the batch size of its two inputs is read.
    """

    vectors = frozenset({"P"})

    def __init__(self, length: int, keys: Sequence[Site], d: int, mlp_width: int | None) -> None:
        super().__init__()
        self.length, self.layers, self.heads = length, len(keys), keys[0].heads
        self.attention_modules = [key.module.rpartition(".")[0] for key in keys]
        wide = 2 * sum(key.d_out for key in keys)
        self.P = nn.Parameter(torch.empty(length, wide if mlp_width is None else d))
        nn.init.normal_(self.P, std=0.02)
        self.mlp: nn.Module = nn.Identity()
        if mlp_width is not None:
            self.mlp = nn.Sequential(nn.Linear(d, mlp_width), nn.Tanh(), nn.Linear(mlp_width, wide))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        prefix: Tensor = self.mlp(self.P)
        return prefix.expand(target.shape[0], -1, -1)

    def reference(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.stack([self.mlp(self.P) for _ in target])

    def by_layer(self, prefix: Tensor) -> Tensor:
        """(batch, n, 2·L·d_kv) -> (L, 2, batch, heads, n, head width)."""
        batch, length, _ = prefix.shape
        return prefix.view(batch, length, self.layers, 2, self.heads, -1).permute(2, 3, 0, 4, 1, 5)


def prefix_attachment(length: int, mlp_width: int | None, layout: Layout) -> Attachment:
    """The prefix of the decoder, or of the only stack. Raises UserError where there is no place for one."""
    _check_family(layout)
    stack, keys = _keys(layout)
    adapter = PrefixAdapter(length, keys, layout.hidden, mlp_width)
    return Attachment(layout.sites("embedding", stack=stack)[0], adapter, at="prompt", suffix="prefix")


def count_prefix(length: int, mlp_width: int | None, layout: Layout) -> int:
    """The closed form of the module's docstring."""
    _check_family(layout)
    _, keys = _keys(layout)
    wide = 2 * sum(key.d_out for key in keys)
    if mlp_width is None:
        return length * wide
    return length * layout.hidden + (layout.hidden + 1) * mlp_width + (mlp_width + 1) * wide


def _check_family(layout: Layout) -> None:
    if layout.family not in TAKES_A_CACHE:
        raise UserError(
            f"adapter: a {layout.family} model has no place for a prefix: transformers gives its attention no cache. "
            "Use adapter=prompt_tuning."
        )


def _keys(layout: Layout) -> tuple[Stack, list[Site]]:
    stack: Stack = "decoder" if "decoder" in layout.layers else "encoder"
    return stack, layout.sites("key", stack=stack, attention="self")


@register
class PrefixTuning(Method[PrefixTuningSpec]):
    """Learned keys and values in every layer."""

    name = "prefix_tuning"
    Spec = PrefixTuningSpec

    def attachments(self, spec: PrefixTuningSpec, layout: Layout) -> Iterable[Attachment]:
        check_all_layers(spec)
        yield prefix_attachment(spec.prefix_length, spec.mlp_width, layout)

    def count(self, spec: PrefixTuningSpec, layout: Layout) -> int:
        check_all_layers(spec)
        return count_prefix(spec.prefix_length, spec.mlp_width, layout)

    def identity_at_init(self, spec: PrefixTuningSpec) -> bool:
        return False

    def sizes(self, spec: PrefixTuningSpec, layout: Layout) -> Iterable[PrefixTuningSpec]:
        """1 to 200 positions."""
        for length in range(1, 201):
            yield spec.model_copy(update={"prefix_length": length})


def check_all_layers(spec: AdapterSpec) -> None:
    """A cache has one entry a layer and one length for all."""
    if spec.layers != "all":
        raise UserError(
            f"adapter.layers: got {spec.layers!r}. Legal: all, for a prefix goes into every layer."
        )


class LayerPrefix:
    """One layer's prefix where attention expects a cache: read alone, nothing is kept."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        self.key, self.value = key, value  # (batch, heads, n, head width)

    def update(self, key: Tensor, value: Tensor, *ignored: Any, **also: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self.key, key], dim=-2), torch.cat([self.value, value], dim=-2)

    def get_seq_length(self, *ignored: Any) -> int:
        return int(self.key.shape[-2])


def hang_prefix(hooked: HookedAdapters, attachment: Attachment) -> list[RemovableHandle]:
    """Give the stack a cache that already holds the prefix, and a mask that is longer by as much."""
    from petbench.adapters.prompt import keyword_binder, longer, stack_module

    adapter, model = attachment.adapter, cast(Any, hooked.model)
    assert isinstance(adapter, PrefixAdapter)
    body = stack_module(model, attachment.site)
    bind = keyword_binder(body)
    crossed = bool(model.config.is_encoder_decoder)
    now: list[LayerPrefix] = []  # of the forward call that runs, or that is run again in the backward pass
    made: list[Any] = []  # the cache of a call that came without one

    def put(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        now.clear()
        made.clear()
        if not hooked.on:
            return None
        given = bind(arguments, keywords)
        cache = given.get("past_key_values")
        given["attention_mask"] = longer(given.get("attention_mask"), adapter.length, 1)
        if cache is None or cache.get_seq_length() == 0:
            like = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
            blank = adapter.P.new_zeros(like.shape[0], 1, 1)
            prefix = adapter.by_layer(adapter(blank, blank))
            now.extend(LayerPrefix(key, value) for key, value in prefix)
            given["past_key_values"] = _filled(prefix, cache, crossed)
            made.extend([given["past_key_values"]] if cache is None else [])
        return (), given

    def take_back(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        # Who asked for no cache must not get one to hand in again.
        if made and getattr(output, "past_key_values", None) is made[0]:
            output.past_key_values = None
        made.clear()

    def refill(layer: int) -> Callable[..., Any]:
        # Under gradient checkpointing transformers drops the cache on the way to a layer.
        def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            if not now or keywords.get("past_key_values") is not None:
                return None
            return arguments, {**keywords, "past_key_values": now[layer]}

        return hook

    handles = [
        body.register_forward_pre_hook(put, with_kwargs=True),
        body.register_forward_hook(take_back),
    ]
    for layer, name in enumerate(adapter.attention_modules):
        attention = model.get_submodule(name)
        handles.append(attention.register_forward_pre_hook(refill(layer), with_kwargs=True))
    return handles


def _filled(prefix: Tensor, cache: Any, crossed: bool) -> Any:
    """A cache that holds the prefix (L, 2, batch, heads, n, head width); `cache`, if given, is filled."""
    from transformers import DynamicCache, EncoderDecoderCache

    if cache is None:
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if crossed else DynamicCache()
    own = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
    for layer, (key, value) in enumerate(prefix):
        own.update(key, value, layer)
    return cache
