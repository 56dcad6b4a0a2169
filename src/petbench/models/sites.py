"""Sites: the places in a model where adapters go, by role and exact module name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from petbench.errors import UserError, unknown

Stack = Literal["encoder", "decoder"]
Attention = Literal["self", "cross"]
HeadReads = Literal["first", "last", "mean"]

ROLES = (
    "query",
    "key",
    "value",
    "attention_output",  # the projection after the heads (W_O): its input is the concatenated heads
    "ffn_input",  # the FFN's first matrix (the gate, too, where there is one: see Site.part)
    "ffn_output",  # the FFN's second matrix
    "ffn_block",  # the whole FFN, from its first matrix's input to its second's output
    "attention_norm",  # the norm of the attention sublayer (after it in post-norm, before it in pre-norm)
    "ffn_norm",
    "final_norm",
    "embedding",
    "head",
)


@dataclass(frozen=True)
class Site:
    """One place. `module` is an exact dotted name in the model.

    d_in, d_out: sizes of the module's input and of this site's part of its output.
    columns: (start, stop) of this site in a fused projection's output; None when it is the whole.
    heads: attention heads of this projection (fewer for k and v under grouped-query attention).
    transposed: the weight is stored (in, out), as in Conv1D.
    residual_argument: for `ffn_block` of a post-norm model: the position of the residual among the
        module's arguments; adding to it is adding in parallel to the whole block.
    bias: whether the module has a bias of its own, into which an adapter's can be merged.
    """

    role: str
    stack: Stack
    layer: int  # within its stack; -1 for places outside the layers
    module: str
    d_in: int
    d_out: int
    attention: Attention | None = None
    columns: tuple[int, int] | None = None
    heads: int = 0
    transposed: bool = False
    residual_argument: int | None = None
    bias: bool = False
    part: str = ""  # tells two sites of one role and layer apart, such as `gate`

    @property
    def key(self) -> str:
        """A name for files and parameter names: `encoder_3_query`, `decoder_0_cross_value`."""
        middle = "cross_" if self.attention == "cross" else ""
        tail = f"_{self.part}" if self.part else ""
        where = f"{self.stack}_{self.layer}" if self.layer >= 0 else self.stack
        return f"{where}_{middle}{self.role}{tail}"

    def __str__(self) -> str:
        cross = "cross-attention " if self.attention == "cross" else ""
        return f"{self.stack} layer {self.layer} {cross}{self.role}"


@dataclass(frozen=True)
class Layout:
    """Everything a method may know of a model: its sites, and facts of its family (`family.py`)."""

    family: str  # transformers' model_type: for messages alone
    hidden: int
    layers: dict[Stack, int]  # number of layers by stack
    all_sites: tuple[Site, ...]
    head_modules: tuple[str, ...]  # of the task head: always trained, saved with the adapter
    encoder_decoder: bool
    missing: dict[str, str]  # role -> one line on why this family has no such place
    head_reads: HeadReads = "first"  # the token whose output the task head reads; mean: of all tokens
    more_keys: bool = True  # whether attention takes keys and values beside the tokens'
    positions: str = ""  # the module that is called with the tokens' positions, where there is one
    free_key_bias: bool = False  # whether a bias of the keys changes nothing: softmax takes it out
    pooled_head: bool = False  # whether the task head is one linear layer on the body's pooled output

    def sites(
        self,
        role: str,
        *,
        layers: str | Sequence[int] = "all",
        attention: Attention | None = None,
        stack: Stack | None = None,
    ) -> list[Site]:
        """The sites of a role, in model order.

        layers: `all`, `last:N`, `first:N` or numbers, applied to each stack.
        attention: only self- or only cross-attention. stack: only the encoder's or the decoder's.
        Raises UserError when the role is unknown, is missing in this family, or no layer is left.
        """
        if role not in ROLES:
            raise unknown("adapter.targets", role, ROLES)
        if role in self.missing:
            raise UserError(f"a {self.family} model has no {role}: {self.missing[role]}")
        found = [site for site in self.all_sites if site.role == role]
        if attention is not None:
            found = [site for site in found if site.attention == attention]
        if stack is not None:
            found = [site for site in found if site.stack == stack]
        if layers != "all":
            wanted = {name: set(choose_layers(layers, count)) for name, count in self.layers.items()}
            found = [site for site in found if site.layer in wanted[site.stack]]
        if not found:
            raise UserError(f"adapter.targets: no {role} in the chosen part of a {self.family} model.")
        return found

    def has(self, role: str) -> bool:
        """Whether the family has the role at all."""
        return role not in self.missing and any(site.role == role for site in self.all_sites)


def choose_layers(layers: str | Sequence[int], count: int) -> list[int]:
    """`all`, `last:8`, `first:4`, `last:2/3` or a list of numbers -> layer numbers of a stack with `count` layers.

    A fraction of the stack is rounded, to one layer at least. Raises UserError for anything else.
    """
    if isinstance(layers, str):
        if layers == "all":
            return list(range(count))
        side, _, number = layers.partition(":")
        part, slash, whole = number.partition("/")
        if slash and part.isdigit() and whole.isdigit() and 0 < int(part) <= int(whole):
            number = str(max(1, round(count * int(part) / int(whole))))
        if side in ("last", "first") and number.isdigit() and 1 <= int(number) <= count:
            chosen = list(range(count))
            return chosen[-int(number) :] if side == "last" else chosen[: int(number)]
        raise UserError(
            f"adapter.layers: got '{layers}'. Legal: all, last:N, first:N with N from 1 to {count}, "
            "or a list of numbers."
        )
    wrong = [layer for layer in layers if not 0 <= layer < count]
    if wrong or not layers:
        raise UserError(f"adapter.layers: got {list(layers)}. Legal: numbers from 0 to {count - 1}.")
    return sorted(set(layers))
