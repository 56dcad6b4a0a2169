"""What merging changes: logits and labels before and after, on some selection rows, in float32."""

import math

import torch
from torch import Tensor

from petbench.errors import Diverged
from petbench.inference.label_tree import label_scores
from petbench.models.load import Backbone
from petbench.record import Merge
from petbench.tasks.encode.encode import Encoded, collate
from petbench.tuned.attach import Tuned

ROWS = 64  # enough to see a flipped label, few enough to cost little
BATCH = 16  # of rows of like lengths: one long row does not pad all the others


@torch.no_grad()
def merge_effect(tuned: Tuned, backbone: Backbone, encoded: Encoded, labels: list[list[int]]) -> Merge:
    """Merge, compare, unmerge. For text-to-text the logits are the label strings' log-likelihoods (nats).

    labels: token ids of the label strings; unused with a head. Raises Diverged when a logit is not finite.
    """
    if not tuned.method.mergeable(tuned.spec, tuned.layout):
        return Merge(mergeable=False)
    device = next(tuned.model.parameters()).device
    rows = sorted(range(min(ROWS, len(encoded))), key=lambda row: encoded.lengths[row])
    batches = [
        collate(encoded, rows[start : start + BATCH], backbone.tokenizer.pad_token_id)
        for start in range(0, len(rows), BATCH)
    ]

    def logits() -> Tensor:
        tuned.model.eval()
        return torch.cat([answers(batch) for batch in batches])

    def answers(batch: dict[str, Tensor]) -> Tensor:
        inputs = {k: v.to(device) for k, v in batch.items() if k != "labels"}
        if backbone.form == "text":
            return label_scores(tuned.model, inputs, labels)
        return tuned.model(**inputs).logits.float()

    before = logits()
    tuned.merge()
    try:
        after = logits()
    finally:
        tuned.unmerge()
    gap = float((before - after).abs().max())
    if not math.isfinite(gap):
        raise Diverged("merged into the backbone, the adapter gives logits that are NaN or infinite")
    flipped = 0 if before.shape[-1] == 1 else int((before.argmax(-1) != after.argmax(-1)).sum())
    return Merge(mergeable=True, max_abs_logit_change=gap, labels_flipped=flipped)
