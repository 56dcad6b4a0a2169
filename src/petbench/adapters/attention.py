"""Attention with learned keys and values before the tokens' own, by transformers' registry of attention functions.

    attention(Q, [P_K; K], [P_V; V])        P_K, P_V learned, before the tokens

`add_keys` switches a model to a registered function that computes attention as the model's own function does, but
over the lengthened keys and values; the backbone's code, its cache and the names of its arguments do not matter. A
hook on each attention module hands the learned keys and values to the function for one call. Nothing is kept between
calls or in a cache, so gradient checkpointing and generation with a cache need no special care. Where no hook hands
any over, the model's own function runs on the same tensors.

Every token sees the learned keys, also where attention is local, and rotary embeddings do not rotate them. They take
the positions before the tokens, as they would in a key-value cache: the tokens' own positions are shifted
(`move_positions`), and T5's decoder, whose bias depends on distance, uses the bias of each learned key's distance. In
T5's encoder and cross-attention, which never kept a prefix in a cache, that bias is zero, so that padding before a
row changes nothing.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Handle
from petbench.errors import UserError

QUERY_POSITIONS = "query_positions"  # keyword of a call whose positions have gaps: (queries), counted from 0
_KEYWORD = "petbench_keys"
_START = "petbench_"  # of the registered names: petbench_sdpa computes as sdpa does
_BASES = ("sdpa", "eager")


class _Keys(NamedTuple):
    """The learned keys and values of one call."""

    pair: Tensor  # (2, heads, n, head width): keys, then values; or one for each equal part of the rows, parts first
    distances: Any  # the T5 attention module that computes the bias of a distance, or None


class _Switched:
    """A handle: `remove` gives the model its own attention function back."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def remove(self) -> None:
        restore_attention(self.model)


def add_keys(
    model: Any, modules: Sequence[str], pair_of: Callable[[int], Tensor], is_on: Callable[[], bool]
) -> list[Handle]:
    """Put `pair_of(i)`, (2, heads, n, head width), before the keys and values of the i-th attention module.

    Raises UserError where the model's attention is computed by other code than sdpa or eager.
    """
    first = model.get_submodule(modules[0])
    by_distance = getattr(first, "has_relative_attention_bias", False) and first.is_decoder
    distances = first if by_distance else None

    def give(place: int) -> Callable[..., Any]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            return (arguments, {**keywords, _KEYWORD: _Keys(pair_of(place), distances)}) if is_on() else None

        return hook

    handles: list[Handle] = _switch(model)
    for place, name in enumerate(modules):
        handles.append(model.get_submodule(name).register_forward_pre_hook(give(place), with_kwargs=True))
    return handles


def move_positions(module: nn.Module, length: int, is_on: Callable[[], bool]) -> Handle:
    """Shift the tokens' positions by `length`. `module` turns positions into embeddings or rotations.

    A forward call raises UserError when the tokens then exceed the model's table of positions.
    """
    room = None
    if isinstance(module, nn.Embedding):
        room = module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)

    def hook(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if not is_on():
            return None
        if room is not None and arguments[0].shape[-1] + length > room:
            raise UserError(
                f"adapter.prefix_length: {length} positions and {arguments[0].shape[-1]} tokens are more than the "
                f"model's {room} positions. Use task.max_length={room - length} or less, or a shorter prefix."
            )
        if room is not None:
            return (arguments[0] + length,), keywords
        given = dict(zip(("x", "position_ids"), arguments, strict=False)) | keywords
        return (given.pop("x"), given.pop("position_ids") + length, *arguments[2:]), given

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def restore_attention(model: Any) -> None:
    """Give a model back the attention function that it had before `add_keys`."""
    name = model.config._attn_implementation
    if name.startswith(_START):
        _set(model, name.removeprefix(_START))


def _set(model: Any, name: str) -> None:
    """Choose the attention function of a model and of the stacks in it, which have configs of their own in T5."""
    from transformers import PreTrainedModel  # transformers takes seconds

    for module in model.modules():
        if isinstance(module, PreTrainedModel):  # before 5.24 nested configs of the same class are left out
            module.set_attn_implementation(name)


def _switch(model: Any) -> list[Handle]:
    """Switch the model's attention to `_attend`. Gives the handle that undoes it, none where it was switched before."""
    from transformers import AttentionInterface, AttentionMaskInterface  # transformers takes seconds

    base = model.config._attn_implementation
    if base.startswith(_START):
        return []
    if base not in _BASES:
        raise UserError(
            f"model.attn: got {base!r}, whose attention takes no learned keys and values. "
            "Legal for a prefix: auto, sdpa, eager."
        )
    AttentionInterface.register(_START + base, partial(_attend, base))
    AttentionMaskInterface.register(_START + base, AttentionMaskInterface()[base])
    _set(model, _START + base)
    return [_Switched(model)]


def _attend(
    base: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **keywords: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention by `base`, over the learned keys and values of this call as well.

    query, key, value: (batch, heads, tokens, head width). attention_mask: (batch or 1, heads or 1, queries, keys),
    True where a query sees a key, or numbers to be added; None: every key is seen, or those that is_causal allows.
    """
    from transformers import AttentionInterface  # transformers takes seconds

    # Each family has its own eager code, which is in no registry.
    eager: Any = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    compute: Any = AttentionInterface().get_interface(base, eager)
    keys: _Keys | None = keywords.pop(_KEYWORD, None)
    positions = keywords.pop(QUERY_POSITIONS, None)
    if keys is None:
        return compute(module, query, key, value, attention_mask, **keywords)
    length, own, queries = keys.pair.shape[-2], key.shape[-2], query.shape[-2]
    if attention_mask is None and base == "sdpa" and queries > 1 and _is_causal(module, keywords):
        attention_mask = torch.ones(queries, own, dtype=torch.bool, device=key.device).tril()[None, None]
    if attention_mask is not None:
        seen = 1 if attention_mask.dtype == torch.bool else 0
        attention_mask = F.pad(attention_mask, (length, 0), value=seen)
    if (bias := keywords.get("position_bias")) is not None:
        if positions is None:
            positions = torch.arange(own - queries, own, device=bias.device)
        further = _bias_of(keys, length, own, positions, bias)
        keywords["position_bias"] = torch.cat([further, bias], dim=-1)
    pair = keys.pair.to(key.dtype)
    if pair.dim() == 4:
        before = pair.unsqueeze(1).expand(-1, len(key), -1, -1, -1)
    else:
        each = pair.transpose(0, 1).unsqueeze(2).expand(-1, -1, len(key) // len(pair), -1, -1, -1)
        before = each.flatten(1, 2)
    key, value = torch.cat([before[0], key], dim=-2), torch.cat([before[1], value], dim=-2)
    return compute(module, query, key, value, attention_mask, **keywords)


def _is_causal(module: nn.Module, keywords: dict[str, Any]) -> bool:
    """Whether a query, given no mask, sees only the keys up to its own position: decided as transformers' sdpa does."""
    said = keywords.get("is_causal")
    return bool(getattr(module, "is_causal", True) if said is None else said)


def _bias_of(keys: _Keys, length: int, own: int, positions: Tensor, bias: Tensor) -> Tensor:
    """T5's bias of the learned keys, (1, heads, queries, n): by their distance in its decoder, else zero."""
    if keys.distances is None:
        return bias.new_zeros(*bias.shape[:-1], length)
    all_rows: Tensor = keys.distances.compute_bias(own, length, device=bias.device, past_seen_tokens=length)
    return all_rows[:, :, positions].to(bias.dtype)
