"""Prefix tuning: learned keys and values before every attention's own.

    attention(Q, [P_K; K], [P_V; V])        P_K, P_V (n, d_kv) for each attention

2·A·n·d_kv parameters, where A is the number of attentions: L in a model of one stack of L layers (1 in ALBERT, whose
layers share their weights), L_enc + 2·L_dec in an encoder-decoder: the encoder's, the decoder's own and its
cross-attention, as in the paper; `attentions` can name fewer. With the reparametrisation, each of these kinds of
attention has a table (n, d) and a tanh MLP of width m: n·d + d·m + m + m·2·A·d_kv + 2·A·d_kv parameters, where A
counts the attentions of that kind. Values are N(0, std 0.02) at the start. Step 0 is not the backbone; it does not
merge. Under grouped-query attention d_kv is the width of the keys, which is less than the queries'.

`attention.py` says how the keys enter attention and which positions they take. Equal to PEFT's prefix tuning where
that works (in T5 it serves the decoder's own attention alone). MPNet and DeBERTa compute attention in code that takes
no further keys.

Li and Liang, Prefix-tuning: Optimizing continuous prompts for generation, ACL 2021, arXiv 2101.00190.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from petbench.adapters.adapter import Attachment, Handle, StackAdapter
from petbench.adapters.attention import add_keys, move_positions
from petbench.adapters.method import Installed, Method
from petbench.adapters.methods.prompt import embedding_site
from petbench.adapters.peft_form import PeftForm, Ranks
from petbench.adapters.registry import register
from petbench.config.sections import AdapterSpec, PositiveInt
from petbench.errors import UserError
from petbench.models.sites import Layout, Site

# The encoder's attention, the decoder's own, and the decoder's to the encoder.
Kind = Literal["encoder", "decoder", "cross"]
# Left out of the config where it is null, so that runs older than this field keep their ids.
Attentions = Annotated[tuple[Kind, ...] | None, Field(exclude_if=lambda value: value is None)]


class PrefixTuningSpec(AdapterSpec):
    """How many positions, and in which attentions (null: all that the model has).

    `mlp_width`: the reparametrisation's hidden width, null for none.
    """

    prefix_length: PositiveInt = 20
    mlp_width: PositiveInt | None = None
    attentions: Attentions = None


class PrefixAdapter(StackAdapter):
    """The prefixes of one kind of attention: P (n, 2·A·d_kv), attention by attention, key before value; with an MLP
    P is its input (n, d)."""

    vectors = frozenset({"P"})

    def __init__(self, length: int, keys: Sequence[Site], layout: Layout, mlp_width: int | None) -> None:
        super().__init__()
        self.length, self.layers, self.heads = length, len(keys), keys[0].heads
        self.attention_modules = [key.module.rpartition(".")[0] for key in keys]
        self.positions = layout.positions
        d, wide = layout.hidden, 2 * sum(key.d_out for key in keys)
        self.P = nn.Parameter(torch.empty(length, wide if mlp_width is None else d))
        nn.init.normal_(self.P, std=0.02)
        self.mlp: nn.Module = nn.Identity()
        if mlp_width is not None:
            self.mlp = nn.Sequential(nn.Linear(d, mlp_width), nn.Tanh(), nn.Linear(mlp_width, wide))

    def forward(self, layer: int) -> Tensor:
        """One attention's keys and values: (2, heads, n, head width)."""
        if isinstance(self.mlp, nn.Sequential):
            *before, last = list(self.mlp)
            assert isinstance(last, nn.Linear)
            hidden = self.P
            for part in before:
                hidden = part(hidden)
            weight, bias = (t.chunk(self.layers)[layer] for t in (last.weight, last.bias))
            wide = F.linear(hidden, weight, bias)
        else:
            wide = self.P.chunk(self.layers, dim=-1)[layer]
        return wide.unflatten(-1, (2, self.heads, -1)).permute(1, 2, 0, 3)

    def hang(self, model: Any, attachment: Attachment, is_on: Callable[[], bool]) -> list[Handle]:
        handles = add_keys(model, self.attention_modules, self, is_on)
        if self.positions:
            handles.append(move_positions(model.get_submodule(self.positions), self.length, is_on))
        return handles


def prefix_attachments(
    length: int, mlp_width: int | None, attentions: Attentions, layout: Layout
) -> Iterator[Attachment]:
    """One attachment for each kind of attention. Raises UserError where the model takes no prefix."""
    for kind, keys in _keys(attentions, layout).items():
        site = embedding_site(layout, "encoder" if kind == "encoder" else "decoder")
        adapter = PrefixAdapter(length, keys, layout, mlp_width)
        yield Attachment(site, adapter, suffix="cross_prefix" if kind == "cross" else "prefix")


def count_prefix(length: int, mlp_width: int | None, attentions: Attentions, layout: Layout) -> int:
    """The closed form of the module's docstring."""
    wides = [2 * sum(key.d_out for key in keys) for keys in _keys(attentions, layout).values()]
    if mlp_width is None:
        return length * sum(wides)
    return sum(
        length * layout.hidden + (layout.hidden + 1) * mlp_width + (mlp_width + 1) * wide for wide in wides
    )


def _keys(attentions: Attentions, layout: Layout) -> dict[str, list[Site]]:
    """The key projections by kind of attention."""
    if not layout.more_keys:
        raise UserError(
            f"adapter: a {layout.family} model has no place for a prefix: transformers computes its attention in the "
            "model's own code, which takes no further keys. Use adapter=prompt_tuning."
        )
    kinds: dict[str, list[Site]] = {}
    for site in layout.sites("key"):
        kinds.setdefault("cross" if site.attention == "cross" else site.stack, []).append(site)
    if attentions is None:
        return kinds
    if not attentions or not kinds.keys() >= set(attentions):
        raise UserError(
            f"adapter.attentions: got {list(attentions)}. Legal for a {layout.family} model: "
            f"null, or some of {', '.join(kinds)}."
        )
    return {kind: keys for kind, keys in kinds.items() if kind in attentions}


@register
class PrefixTuning(Method[PrefixTuningSpec]):
    """Learned keys and values in every layer."""

    name = "prefix_tuning"
    Spec = PrefixTuningSpec

    def attachments(self, spec: PrefixTuningSpec, layout: Layout) -> Iterable[Attachment]:
        check_all_layers(spec)
        yield from prefix_attachments(spec.prefix_length, spec.mlp_width, spec.attentions, layout)

    def count(self, spec: PrefixTuningSpec, layout: Layout) -> int:
        check_all_layers(spec)
        return count_prefix(spec.prefix_length, spec.mlp_width, spec.attentions, layout)

    def identity_at_init(self, spec: PrefixTuningSpec) -> bool:
        return False

    def peft_form(
        self, spec: PrefixTuningSpec, layout: Layout, installed: Installed, ranks: Ranks
    ) -> PeftForm:
        if layout.encoder_decoder or ("encoder" in layout.layers and not layout.pooled_head):
            why = (
                "PEFT serves the decoder's own attention alone, and splits its table among the layers differently"
                if layout.encoder_decoder
                else "PEFT does not call this family's head"
            )
            raise UserError(f"prefix_tuning on {layout.family} cannot be exported: {why}.")
        (attachment,) = installed.attachments
        adapter = attachment.adapter
        assert isinstance(adapter, PrefixAdapter)
        with torch.no_grad():
            table = adapter.mlp(adapter.P)  # PEFT, too, saves the output of its projection
        key = layout.sites("key", attention="self")[0]
        arguments = {
            "num_virtual_tokens": adapter.length,
            "token_dim": key.d_out,
            "num_attention_heads": key.heads,
            "num_layers": adapter.layers,
            "num_transformer_submodules": 1,
            "prefix_projection": False,
        }
        values = {"prompt_encoder.default.embedding.weight": table.detach()}
        return PeftForm("PREFIX_TUNING", arguments, values, f"prefix tuning of {adapter.length} positions")

    def sizes(self, spec: PrefixTuningSpec, layout: Layout) -> Iterable[PrefixTuningSpec]:
        """1 to 200 positions."""
        for length in range(1, 201):
            yield spec.model_copy(update={"prefix_length": length})


def check_all_layers(spec: AdapterSpec) -> None:
    """Raise UserError unless `layers` is all: the paper's prefix, and its count, are of every layer."""
    if spec.layers != "all":
        raise UserError(
            f"adapter.layers: got {spec.layers!r}. Legal: all, because a prefix goes into every layer."
        )
