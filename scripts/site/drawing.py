"""One layer of a model as boxes that wrap on a narrow screen: where adapters are, and what is trained itself."""

from collections.abc import Iterator

from petbench.commands.method_facts import Placed, trains_at

_BLOCK = ' class="layer-block"'
_WORD = ' <b class="place-word">an adapter beside the whole block</b>'


def draw(found: Placed) -> str:
    """HTML of the backbone that the method was placed on."""

    def box(role: str, word: str) -> str:
        state = " place-on" if role in found.roles else ""
        state = state or (" place-trains" if trains_at(role, found.trained) else "")
        return f'<span class="place{state}">{word}</span>'

    heads = f"{box('query', 'query')} {box('key', 'key')} {box('value', 'value')}"
    attention = [heads, box("attention_context", "heads"), box("attention_output", "output")]
    ffn = [box("ffn_input", "first matrix"), box("ffn_output", "second matrix"), box("ffn_norm", "norm")]
    after = [box("final_norm", "norm")] if "final_norm" in found.places else []
    around, word = (_BLOCK, _WORD) if "ffn_block" in found.roles else ("", "")
    told = "; ".join(_told(found))
    return "\n".join([
        f'<div class="layer" role="img" aria-label="{told}">',
        f"<p>{box('embedding', 'embedding')}</p>",
        '<div class="layer-body"><em>every layer</em>',
        f"<p><b>attention</b> {' → '.join([*attention, box('attention_norm', 'norm')])}</p>",
        f"<p{around}><b>feed-forward</b> {' → '.join(ffn)}{word}</p>",
        "</div>",
        f"<p>{' → '.join([*after, box('head', 'task head')])}</p>",
        '<p class="layer-key"><span class="place place-on">an adapter</span> '
        '<span class="place place-trains">is trained itself</span> <span class="place">frozen</span></p>',
        "</div>",
    ])  # fmt: skip


def _told(found: Placed) -> Iterator[str]:
    """The same in words, for who does not see it."""
    if found.roles:
        yield f"adapters on {', '.join(sorted(found.roles))}"
    words = {"norm": "norms", "bias": "biases", "all": "the whole body"}
    yield f"trained themselves: {', '.join([*(words[part] for part in sorted(found.trained)), 'the task head'])}"
