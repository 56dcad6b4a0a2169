"""What a model family is: where each role is in a layer, and the facts that methods and exports ask for."""

from dataclasses import dataclass, field
from typing import Literal

from petbench.models.sites import Attention, HeadReads, Stack

Tokens = Literal["bert", "roberta", "t5", "decoder"]


@dataclass(frozen=True)
class Place:
    """Where a role is in a model.

    heads: config field with the number of heads. fused: (index, parts) of a projection that computes
    several roles at once, in equal parts. gated: only in models whose FFN is (True) or is not (False)
    gated. first_layer: the lowest layer that has it. The other fields are those of Site.
    """

    role: str
    path: str
    attention: Attention | None = None
    heads: str = ""
    fused: tuple[int, int] | None = None
    residual_argument: int | None = None
    part: str = ""
    gated: bool | None = None
    first_layer: int = 0


@dataclass(frozen=True)
class Tower:
    """One stack of layers. optional: models without it exist (an encoder taken alone)."""

    stack: Stack
    layers: str  # the ModuleList
    count: str  # config field with the number of layers
    places: tuple[Place, ...]
    outside: tuple[Place, ...]  # in the body, outside the layers: embeddings and the final norm
    optional: bool = False


@dataclass(frozen=True)
class Family:
    """One architecture. No method, exporter or tokenizer asks for its name; they ask for these facts.

    tokens: the style of its special tokens (`tokenizer.py`). segments: whether it tells the two texts of a pair apart.
    head_reads: the token whose output a task head reads; a config with `classifier_pooling` says so itself.
    missing: role -> why there is no such place.
    text: whether it can answer in text. Label strings are then scored over a tree of them, which needs a decoder that
        encodes positions by nothing but one bias of their distances, owned by its first layer.
    more_keys: whether attention can take keys and values beside the tokens': transformers then computes it by a
        function of its registry. positions: the module that is called with the tokens' positions and gives their
        embeddings or rotations; empty where attention itself uses distances, or the table counts positions by itself.
    pooled_head: whether the task head is one linear layer on the body's pooled output: PEFT's prefix tuning calls no
        other. free_key_bias: whether a bias of its keys changes nothing, since it adds one number to all scores of a
        query: keys are used as they are projected, neither rotated nor multiplied by positions. new: modules that a
        checkpoint may lack, or hold without their being read.
    """

    towers: tuple[Tower, ...]
    tokens: Tokens
    head_reads: HeadReads = "first"
    missing: dict[str, str] = field(default_factory=dict)
    segments: bool = False
    text: bool = False
    more_keys: bool = True
    positions: str = ""
    pooled_head: bool = False
    free_key_bias: bool = False
    new: tuple[str, ...] = ()


def attention_places(
    q: str,
    k: str,
    v: str,
    o: str,
    norm: str,
    *,
    attention: Attention = "self",
    heads: str = "num_attention_heads",
    key_value_heads: str = "",
    norm_from: int = 0,
) -> tuple[Place, ...]:
    """The five places of an attention sublayer; equal q, k and v paths mean one fused projection."""
    fused = [(0, 3), (1, 3), (2, 3)] if q == k == v else [None, None, None]
    fewer = key_value_heads or heads
    return (
        Place("query", q, attention, heads, fused[0]),
        Place("key", k, attention, fewer, fused[1]),
        Place("value", v, attention, fewer, fused[2]),
        Place("attention_output", o, attention, heads),
        Place("attention_norm", norm, attention, first_layer=norm_from),
    )


def post_norm_ffn(first: str, second: str, block: str, norm: str) -> tuple[Place, ...]:
    """The FFN of BERT and its kin: the block that adds the residual takes it as its second argument."""
    return (
        Place("ffn_input", first),
        Place("ffn_output", second),
        Place("ffn_block", block, residual_argument=1),
        Place("ffn_norm", norm),
    )
