"""The table of model families: for each role, where it is in a layer of each architecture.

Data only. Paths are relative: `layers` to the body, `path` to one layer (or to the body for places
outside the layers). families.py turns them into exact module names and checks every one.
"""

from dataclasses import dataclass, field

from petbench.models.sites import Attention, Stack


@dataclass(frozen=True)
class Place:
    """Where a role is.

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
    """One architecture. missing: role -> why there is no such place.

    more_keys: whether attention can take keys and values beside the tokens': transformers then computes it by a
    function of its registry. positions: the module that gives the tokens' positions their embeddings or rotations;
    none where attention itself knows distances. new: modules that a checkpoint may lack or hold in vain.
    """

    towers: tuple[Tower, ...]
    missing: dict[str, str] = field(default_factory=dict)
    more_keys: bool = True
    positions: str = ""
    new: tuple[str, ...] = ()


def _attention(
    q: str,
    k: str,
    v: str,
    o: str,
    norm: str,
    *,
    attention: Attention = "self",
    key_value_heads: str = "num_attention_heads",
    norm_from: int = 0,
) -> tuple[Place, ...]:
    """The five places of an attention sublayer; equal q, k and v paths mean one fused projection."""
    fused = [(0, 3), (1, 3), (2, 3)] if q == k == v else [None, None, None]
    heads = "num_attention_heads"
    return (
        Place("query", q, attention, heads, fused[0]),
        Place("key", k, attention, key_value_heads, fused[1]),
        Place("value", v, attention, key_value_heads, fused[2]),
        Place("attention_output", o, attention, heads),
        Place("attention_norm", norm, attention, first_layer=norm_from),
    )


def _post_norm_ffn(first: str, second: str, block: str, norm: str) -> tuple[Place, ...]:
    """The FFN of BERT and its kin: the block that adds the residual takes it as its second argument."""
    return (
        Place("ffn_input", first),
        Place("ffn_output", second),
        Place("ffn_block", block, residual_argument=1),
        Place("ffn_norm", norm),
    )


def _bert_like(q: str, k: str, v: str, o: str, norm: str, *, more_keys: bool = True) -> Family:
    ffn = _post_norm_ffn("intermediate.dense", "output.dense", "output", "output.LayerNorm")
    embedding = Place("embedding", "embeddings.word_embeddings")
    places = _attention(q, k, v, o, norm) + ffn
    tower = Tower("encoder", "encoder.layer", "num_hidden_layers", places, (embedding,))
    positions = "embeddings.position_embeddings" if more_keys else ""
    return Family((tower,), _POST_NORM, more_keys, positions, new=("pooler",))


def _llama_like() -> Family:
    places = (
        *_attention(
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "input_layernorm",
            key_value_heads="num_key_value_heads",
        ),
        Place("ffn_input", "mlp.gate_proj", part="gate"),
        Place("ffn_input", "mlp.up_proj"),
        Place("ffn_output", "mlp.down_proj"),
        Place("ffn_block", "mlp"),
        Place("ffn_norm", "post_attention_layernorm"),
    )
    outside = (Place("embedding", "embed_tokens"), Place("final_norm", "norm"))
    return Family((Tower("decoder", "layers", "num_hidden_layers", places, outside),), positions="rotary_emb")


def _t5_attention(layer: str, name: str, attention: Attention) -> tuple[Place, ...]:
    at = f"{layer}.{name}"
    return _attention(f"{at}.q", f"{at}.k", f"{at}.v", f"{at}.o", f"{layer}.layer_norm", attention=attention)


def _t5_ffn(layer: str) -> tuple[Place, ...]:
    at = f"{layer}.DenseReluDense"
    return (
        Place("ffn_input", f"{at}.wi", gated=False),
        Place("ffn_input", f"{at}.wi_0", part="gate", gated=True),
        Place("ffn_input", f"{at}.wi_1", gated=True),
        Place("ffn_output", f"{at}.wo"),
        Place("ffn_block", at),
        Place("ffn_norm", f"{layer}.layer_norm"),
    )


def _t5_outside(stack: Stack) -> tuple[Place, ...]:
    # T5 never calls `shared`: each stack has its own embedding module, with tied weights.
    return (Place("embedding", f"{stack}.embed_tokens"), Place("final_norm", f"{stack}.final_layer_norm"))


_POST_NORM = {"final_norm": "it is post-norm, so the last layer's ffn_norm is its last norm."}

_BERT = _bert_like(
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
)
_DEBERTA = _bert_like(
    "attention.self.query_proj",
    "attention.self.key_proj",
    "attention.self.value_proj",
    "attention.output.dense",
    "attention.output.LayerNorm",
    more_keys=False,
)
_MPNET = _bert_like(
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "attention.LayerNorm",
    more_keys=False,
)

_DISTILBERT = Family(
    (
        Tower(
            "encoder",
            "transformer.layer",
            "num_hidden_layers",
            (
                *_attention(
                    "attention.q_lin",
                    "attention.k_lin",
                    "attention.v_lin",
                    "attention.out_lin",
                    "sa_layer_norm",
                ),
                Place("ffn_input", "ffn.lin1"),
                Place("ffn_output", "ffn.lin2"),
                Place("ffn_block", "ffn"),  # the residual is added outside, so its output is the place
                Place("ffn_norm", "output_layer_norm"),
            ),
            (Place("embedding", "embeddings.word_embeddings"),),
        ),
    ),
    _POST_NORM,
    positions="embeddings.position_embeddings",
)

# All layers of an ALBERT are one: each role has one site, and its adapter acts in every layer.
_ALBERT = Family(
    (
        Tower(
            "encoder",
            "encoder.albert_layer_groups.0.albert_layers",
            "inner_group_num",
            (
                *_attention(
                    "attention.query",
                    "attention.key",
                    "attention.value",
                    "attention.dense",
                    "attention.LayerNorm",
                ),
                Place("ffn_input", "ffn"),
                Place("ffn_output", "ffn_output"),
                Place("ffn_norm", "full_layer_layer_norm"),
            ),
            (Place("embedding", "embeddings.word_embeddings"),),
        ),
    ),
    _POST_NORM | {"ffn_block": "its FFN is no module of its own; use ffn_input or ffn_output."},
    positions="embeddings.position_embeddings",
    new=("pooler",),
)

_MODERNBERT = Family(
    (
        Tower(
            "encoder",
            "layers",
            "num_hidden_layers",
            (
                # The embedding's norm serves the first attention, so layer 0 has an Identity there.
                *_attention("attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "attn_norm", norm_from=1),
                Place("ffn_input", "mlp.Wi", fused=(0, 2), part="gate"),  # the activated half
                Place("ffn_input", "mlp.Wi", fused=(1, 2)),
                Place("ffn_output", "mlp.Wo"),
                Place("ffn_block", "mlp"),
                Place("ffn_norm", "mlp_norm"),
            ),
            (Place("embedding", "embeddings.tok_embeddings"), Place("final_norm", "final_norm")),
        ),
    ),
    positions="rotary_emb",
)

_GPT2 = Family(
    (
        Tower(
            "decoder",
            "h",
            "num_hidden_layers",
            (
                *_attention("attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj", "ln_1"),
                Place("ffn_input", "mlp.c_fc"),
                Place("ffn_output", "mlp.c_proj"),
                Place("ffn_block", "mlp"),
                Place("ffn_norm", "ln_2"),
            ),
            (Place("embedding", "wte"), Place("final_norm", "ln_f")),
        ),
    ),
    positions="wpe",
)

_T5 = Family(
    (
        Tower(
            "encoder",
            "encoder.block",
            "num_layers",
            _t5_attention("layer.0", "SelfAttention", "self") + _t5_ffn("layer.1"),
            _t5_outside("encoder"),
        ),
        Tower(
            "decoder",
            "decoder.block",
            "num_decoder_layers",
            _t5_attention("layer.0", "SelfAttention", "self")
            + _t5_attention("layer.1", "EncDecAttention", "cross")
            + _t5_ffn("layer.2"),
            _t5_outside("decoder"),
            optional=True,
        ),
    )
)

FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "deberta-v2": _DEBERTA,  # DeBERTa-v3 has the same code
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
    "albert": _ALBERT,
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    "llama": _llama_like(),
    "qwen2": _llama_like(),
    "qwen3": _llama_like(),
    "t5": _T5,
}
