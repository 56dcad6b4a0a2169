"""Answers of a text-to-text model: the most likely label string, or what it writes by itself."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def label_scores(model: Any, batch: dict[str, Tensor], labels: Sequence[Sequence[int]]) -> Tensor:
    """Log-likelihood of every label string given every input: (batch, labels), in nats.

    batch: input_ids and attention_mask (batch, tokens). labels: token ids of each string, end included.
    The encoder runs once (but see `encodes_apart`).
    """
    rows, count = len(batch["input_ids"]), len(labels)
    longest = max(map(len, labels))
    device = batch["input_ids"].device
    targets = torch.full((count, longest), -100, device=device)
    for number, ids in enumerate(labels):
        targets[number, : len(ids)] = torch.tensor(ids, device=device)
    repeated = targets.repeat(rows, 1)
    if getattr(model, "encodes_apart", True):
        encoded = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        once: dict[str, Any] = {"encoder_outputs": (encoded.last_hidden_state.repeat_interleave(count, dim=0),)}
    else:  # a wrapper whose encoder alone lacks what it learned
        once = {"input_ids": batch["input_ids"].repeat_interleave(count, dim=0)}
    logits = model(
        **once,
        attention_mask=batch["attention_mask"].repeat_interleave(count, dim=0),
        labels=repeated,
    ).logits
    chosen = logits.float().log_softmax(-1).gather(-1, repeated.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (chosen * (repeated >= 0)).sum(-1).view(rows, count)


@torch.no_grad()
def written_answers(model: Any, batch: dict[str, Tensor], tokenizer: Any, max_new_tokens: int) -> list[str]:
    """What the model writes, greedily, as the papers decode."""
    ids = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
    )
    return list(tokenizer.batch_decode(ids, skip_special_tokens=True))
