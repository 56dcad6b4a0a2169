"""Text-to-text answers: the exact likelihood of every label string, or what the model writes by itself.

Scoring takes one forward call a batch. The label strings form a tree: a node is a token after a prefix that
some strings share, and its decoder output gives the probabilities of the next token. All nodes of a row are one
decoder input, so the encoder runs once and its keys and values are projected once; a node sees its
ancestors alone, and relative positions follow from the depths. With 26 STS-B strings that is 29 positions a
row instead of 26 rows of three.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from petbench.adapters.attention import QUERY_POSITIONS
from petbench.errors import UserError
from petbench.models.families import attention_modules, family_of
from petbench.models.precision import in_float32

# Decoder positions whose full-vocabulary logits are held at once: 256 of 32,128 tokens are 33 MB in float32.
LOGIT_ROWS = 256
HEAD = ("lm_head",)  # in float32 even under autocast: rounding must not turn near ties into ties


@dataclass(frozen=True)
class LabelTree:
    """All proper prefixes of the label strings as nodes, each once; node 0 is the empty prefix.

    tokens, parents, depths: of every node (the root's token is the decoder's start; its parent is itself).
    edges: (node, next token). paths: the edges of every label, from the root to the end token.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    paths: tuple[tuple[int, ...], ...]

    @cached_property
    def sees(self) -> Tensor:
        """Whether a node (row) sees another (column): itself and its ancestors. Shape (nodes, nodes)."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            seen[node] |= seen[parent]  # a parent comes before its children
        return seen


@lru_cache(maxsize=32)
def label_tree(labels: tuple[tuple[int, ...], ...]) -> LabelTree:
    """The tree of these token sequences, each with its end token."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    tokens, parents, depths = [-1], [0], [0]
    edges: dict[tuple[int, int], int] = {}
    paths = []
    for label in labels:
        path = []
        for place, token in enumerate(label):
            prefix = label[:place]
            if prefix not in nodes:
                nodes[prefix] = len(tokens)
                tokens.append(prefix[-1])
                parents.append(nodes[prefix[:-1]])
                depths.append(place)
            path.append(edges.setdefault((nodes[prefix], token), len(edges)))
        paths.append(tuple(path))
    return LabelTree(tuple(tokens), tuple(parents), tuple(depths), tuple(edges), tuple(paths))


@torch.no_grad()
def label_scores(model: Any, batch: dict[str, Tensor], labels: Sequence[Sequence[int]]) -> Tensor:
    """Log-likelihood of every label string given every input: (batch, labels), in nats, exact.

    batch: input_ids and attention_mask (batch, tokens). labels: token ids of each string, end included.
    model: one that answers in text (`Family.text`), bare, with adapters on it or inside a wrapper; hooks and adapters
        see it as in training.
    """
    tree = label_tree(tuple(tuple(label) for label in labels))
    core = _text_model(model)
    rows, device = len(batch["input_ids"]), batch["input_ids"].device
    nodes = torch.tensor((core.config.decoder_start_token_id, *tree.tokens[1:]), device=device)
    kept: list[Tensor] = []
    with _positions_by_depth(core, tree), _kept_from(core.lm_head, kept):
        model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=nodes.expand(rows, -1).contiguous(),
            use_cache=False,
        )
    (hidden,) = kept  # (batch, nodes, width)
    edge_nodes, edge_tokens = torch.tensor(tree.edges, device=device).T
    step = max(1, LOGIT_ROWS // len(nodes))
    with in_float32(core, HEAD):
        odds = [_edge_odds(core.lm_head, part, edge_nodes, edge_tokens) for part in hidden.split(step)]
    return _path_sums(torch.cat(odds), tree)


def _edge_odds(lm_head: nn.Module, hidden: Tensor, nodes: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of every edge's token after its node: (rows, edges). The softmax is over all tokens.

    NaN where any logit of the node is not finite.
    """
    logits = lm_head(hidden).float()  # (rows, nodes, vocabulary)
    broken = ~logits.isfinite().all(-1)
    return (logits[:, nodes, tokens] - logits.logsumexp(-1)[:, nodes]).masked_fill(
        broken[:, nodes], torch.nan
    )


def _path_sums(odds: Tensor, tree: LabelTree) -> Tensor:
    """Sums of the edges' values along each label: (rows, edges) -> (rows, labels)."""
    longest, nothing = max(map(len, tree.paths)), len(tree.edges)
    padded = [path + (nothing,) * (longest - len(path)) for path in tree.paths]
    odds = torch.cat([odds, odds.new_zeros(len(odds), 1)], dim=1)
    return odds[:, torch.tensor(padded, device=odds.device)].sum(-1)


def check_decodable(model: Any, form: Literal["head", "text"]) -> None:
    """Raise UserError for a model whose decoder cannot run; also on the meta device.

    In text form the family must be able to answer in text and the model must have decoder layers. In head form the
    config of an encoder-decoder must not deny the decoder: transformers then has no token to start it with.
    """
    config = model.config
    stacks = {tower.stack for tower in family_of(config.model_type).towers}
    if form == "text":
        _text_model(model)
    elif len(stacks) > 1 and not config.is_encoder_decoder:
        raise UserError(
            f"model.name: this {config.model_type} model's config.json says is_encoder_decoder=false, so its decoder "
            "cannot be started. Take a whole model (is_encoder_decoder=true), such as model=t5_base."
        )


def _text_model(model: Any) -> Any:
    """The transformers model inside any wrapper. Raises UserError unless it answers in text and has decoder layers."""
    from transformers import PreTrainedModel  # transformers takes seconds

    found: Any = next(m for m in model.modules() if isinstance(m, PreTrainedModel))
    config = found.config
    why = ""
    if not family_of(config.model_type).text:
        why = "does not answer in text"
    elif not hasattr(found, "lm_head"):
        why = f"is a {type(found).__name__}"
    elif not attention_modules(found, "decoder"):
        why = "has no decoder layer"
    if why:
        raise UserError(
            f"model.name: this {config.model_type} model {why}, so its answers cannot be decoded. "
            "Legal in text form: a model such as model=t5_base; or use task.form=head."
        )
    return found


@contextmanager
def _positions_by_depth(core: Any, tree: LabelTree) -> Iterator[None]:
    """Inside, the decoder's self-attention reads its input as the nodes of a tree.

    A node sees what comes before the input (a learned prefix in the cache), its ancestors and itself; its
    distance to them is that in the tree.
    """
    modules = attention_modules(core, "decoder")
    put = _tree_attention(tree, modules[0])
    handles = [module.register_forward_pre_hook(put, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tree_attention(tree: LabelTree, first: Any) -> Callable[..., Any]:
    """A pre-hook that gives attention the tree's mask and position bias; `first` owns the bias of all layers."""
    made: dict[int, dict[str, Tensor]] = {}

    def arguments_of(past: int, like: Tensor) -> dict[str, Tensor]:
        """Mask (1, 1, nodes, past + nodes) and bias (1, heads, nodes, past + nodes), both to be added."""
        queries = past + torch.tensor(tree.depths, device=like.device)
        keys = torch.cat([torch.arange(past, device=like.device), queries])
        length = past + max(tree.depths) + 1
        bias = first.compute_bias(length, length, device=like.device)[:, :, queries][..., keys]
        hidden = torch.zeros(len(queries), len(keys), dtype=torch.bool)
        hidden[:, past:] = ~tree.sees
        lowest = torch.finfo(like.dtype).min
        mask = torch.zeros(hidden.shape, device=like.device, dtype=like.dtype)
        mask = mask.masked_fill(hidden.to(like.device), lowest)[None, None]
        return {"mask": mask, "position_bias": bias.to(like.dtype), QUERY_POSITIONS: queries}

    def put(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        # PEFT's prefix is in a key-value cache, whose argument has had several names.
        cache = next((value for value in keywords.values() if hasattr(value, "get_seq_length")), None)
        past = 0 if cache is None else int(cache.get_seq_length(getattr(module, "layer_idx", 0)))
        if past not in made:
            made[past] = arguments_of(past, arguments[0] if arguments else keywords["hidden_states"])
        return arguments, keywords | made[past]

    return put


@contextmanager
def _kept_from(lm_head: nn.Module, kept: list[Tensor]) -> Iterator[None]:
    """Inside, the output layer's input is kept and the layer runs on no rows, so no logits of all nodes are made."""

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        kept.append(arguments[0])
        return (arguments[0][:0], *arguments[1:])

    handle = lm_head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def written_answers(
    model: Any, batch: dict[str, Tensor], tokenizer: Any, max_new_tokens: int
) -> tuple[list[str], Tensor]:
    """What the model writes, greedily, as the papers decode, and by row whether all logits were finite. Logits are
    computed in float32."""
    with in_float32(model, HEAD):
        written = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=True,
            output_logits=True,
        )
    finite = torch.stack([logits.isfinite().all(-1) for logits in written.logits]).all(0)
    return list(tokenizer.batch_decode(written.sequences, skip_special_tokens=True)), finite
