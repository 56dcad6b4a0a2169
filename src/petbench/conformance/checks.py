"""The conformance checks: each takes a case and raises AssertionError with what is wrong.

The numbers are those of the list in docs/adding-a-method.md.
"""

import inspect
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from petbench.config.tree import option_path
from petbench.conformance.case import Case, NotApplicable, disturb
from petbench.conformance.maths import fast_path, gradients, lanes
from petbench.conformance.resume import resuming
from petbench.errors import UserError
from petbench.models.checkpointing import enable_checkpointing, no_checkpointing
from petbench.report.citations import citation_of
from petbench.training.guard import must_move
from petbench.tuned.attach import Tuned
from petbench.tuned.checkpoint import load_tensors, save_tensors
from petbench.tuned.params import count_params

IMPOSSIBLE = 10_007  # a prime above every size of the tiny models
LEARNING_RATES = (1e-2, 1e-1, 1e-3)
NORMS = ("attention_norm", "ffn_norm", "final_norm")


def documented(case: Case) -> None:
    """1. The YAML has its header, a learning rate and the paper; the parameter count and the class are documented."""
    head = (yaml := option_path("adapter", case.name)).read_text(encoding="utf-8").splitlines()
    assert head[0].startswith("# ") and "petbench train" in head[1], f"{yaml} lacks its two header lines"
    assert case.values.get("tuning", {}).get("lr"), f"{yaml} has no tuning.lr"
    text = sys.modules[type(case.method).__module__].__doc__ or ""
    assert citation_of(case.name) is not None, f"{yaml} has no citation (BibTeX, or: unpublished)"
    assert re.search(r"parameter|bias|count", text), "the method file's docstring gives no parameter count"
    assert inspect.getdoc(type(case.method)), "the method class has no docstring"


def identity(case: Case) -> None:
    """2. At step 0 the model is the backbone exactly, or the method claims otherwise."""
    same = torch.equal(case.logits(case.tuned().model), case.logits(case.bare()))
    claims = case.method.identity_at_init(case.spec)
    assert same == claims, (
        f"identity_at_init says {claims}, but logits at step 0 are {'' if same else 'not '}equal"
    )


def trainable_names(case: Case) -> None:
    """3. What trains is the adapter, the head, the norms where asked for and what `trains` names."""
    tuned, bare, layout = case.tuned(), case.bare(), case.backbone.layout
    body = {name for name, _ in bare.named_parameters()}
    claimed = case.method.trains(case.spec, layout, bare)
    norms = {s.module for s in layout.all_sites if s.role in NORMS} if case.spec.train_norms else set()
    inside = (*layout.head_modules, *case.backbone.new_modules, *norms)
    claimed |= {name for name in body if any(name.startswith(f"{module}.") for module in inside)}
    trained = {name for name, p in tuned.model.named_parameters() if p.requires_grad}
    assert trained >= tuned.adapter_names, f"frozen adapters: {sorted(tuned.adapter_names - trained)[:3]}"
    expected = {id(p) for name, p in tuned.model.named_parameters() if name in tuned.adapter_names}
    expected |= {id(p) for name, p in _body(tuned, body).items() if name in claimed}
    wrong = [n for n, p in tuned.model.named_parameters() if p.requires_grad != (id(p) in expected)]
    assert not wrong, f"trained and not claimed, or claimed and frozen: {wrong[:3]}"


def counts(case: Case) -> None:
    """4. Counted parameters equal the closed form."""
    counted = count_params(case.tuned()).adapter
    closed_form = case.method.count(case.spec, case.backbone.layout)
    assert counted == closed_form, f"{counted} adapter parameters, closed form {closed_form}"


def everything_moves(case: Case) -> None:
    """6. After three steps of each stage, which a `Guard` watches, every trained tensor has changed, except those that
    the method's `may_rest` names and biases of keys. 7. Everything else is bit-identical."""
    tuned = case.tuned()
    before = {name: p.detach().clone() for name, p in tuned.model.named_parameters()}
    buffers = {name: b.clone() for name, b in tuned.model.named_buffers()}
    if not tuned.trained_names:
        raise NotApplicable("nothing trains")
    case.train(tuned, steps=3, lr=1e-2)
    due = must_move(tuned, tuned.trained_names)
    still = [n for n, p in tuned.model.named_parameters() if n in due and torch.equal(p, before[n])]
    assert not still, f"not changed after three steps: {still[:3]}"
    moved = [
        n
        for n, p in tuned.model.named_parameters()
        if n not in tuned.trained_names and not torch.equal(p, before[n])
    ]
    moved += [n for n, b in tuned.model.named_buffers() if not torch.equal(b, buffers[n])]
    assert not moved, f"frozen, yet changed by training: {moved[:3]}"


def save_and_load(case: Case) -> None:
    """8. What is saved, put on a fresh model with other initial values, gives equal logits, head included."""
    tuned = case.tuned()
    disturb(tuned, tuned.trained_names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_tensors(tuned.state(), path)
        fresh = case.tuned(seed=1)
        disturb(fresh, fresh.head_names, seed=2)
        fresh.load_state(load_tensors(path))
    assert torch.equal(case.logits(fresh.model), case.logits(tuned.model)), "logits differ after loading"


def disable(case: Case) -> None:
    """9. Switched off, the model computes exactly what the backbone computes; switched on, it does not."""
    tuned = case.tuned()
    if not tuned.adapter_names:
        raise NotApplicable("no adapter parameters")
    disturb(tuned, tuned.adapter_names)
    on = case.logits(tuned.model)
    with tuned.disabled():
        off = case.logits(tuned.model)
    assert torch.equal(off, case.logits(case.bare())), "disabled logits are not the backbone's"
    assert not torch.equal(on, off), "the adapters change nothing"
    assert torch.equal(case.logits(tuned.model), on), "enabled again, the logits are not those of before"


def merging(case: Case) -> None:
    """10. Merged equals unmerged within 1e-5 and unmerge restores every bit, or merge refuses as claimed.

    The bound grows with the logits, and with the weights where the change is larger than they are (FourierFT's
    random start at this width): float32 rounds by its largest terms.
    """
    tuned = case.tuned()
    disturb(tuned, tuned.adapter_names)
    weights = {name: p.detach().clone() for name, p in tuned.model.named_parameters()}
    unmerged = case.logits(tuned.model)
    if not case.method.mergeable(case.spec, case.backbone.layout):
        try:
            tuned.merge()
        except UserError as error:
            assert "merge" in str(error), f"the refusal does not speak of merging: {error}"
            return
        raise AssertionError("mergeable() says no, yet merge() did not refuse")
    tuned.merge()
    gap = float((case.logits(tuned.model) - unmerged).abs().max())
    bound = 1e-5 * max(1.0, float(unmerged.abs().max())) * _growth(tuned, weights)
    assert gap <= bound, f"merged logits differ by {gap:.1e}, more than {bound:.1e}"
    tuned.unmerge()
    changed = [n for n, p in tuned.model.named_parameters() if not torch.equal(p, weights[n])]
    assert not changed, f"unmerge did not restore: {changed[:3]}"
    assert torch.equal(case.logits(tuned.model), unmerged), "unmerged logits are not those of before"


def seeded(case: Case) -> None:
    """11. One seed gives the same initial values, another seed others where the method draws any; torch's own
    generator stays as it was."""
    state = torch.get_rng_state()
    first, again, other = (dict(case.tuned(seed=s).model.named_parameters()) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state()), "attaching draws from the global generator"
    names = case.tuned().adapter_names
    assert all(torch.equal(first[n], again[n]) for n in names), "one seed gave two initial values"
    drawn = [n for n in names if not torch.equal(first[n], first[n].flatten()[0].expand_as(first[n]))]
    moved = any(not torch.equal(first[n], other[n]) for n in drawn)
    claimed = bool(drawn) and case.method.draws(case.spec)
    assert moved == claimed, (
        f"the seed {'changes' if moved else 'does not change'} the start; draws() says otherwise"
    )


def impossible_shape(case: Case) -> None:
    """12. Layers or sizes that do not fit raise, naming field, value and what is legal."""
    layout = case.backbone.layout
    attachments = list(case.method.attachments(case.spec, layout))
    if not attachments:
        raise NotApplicable("no adapters, so no shapes")
    if any(attachment.site.layer >= 0 for attachment in attachments):
        assert _refused(case, "layers", (99,), "99"), "adapter.layers [99] was taken"
    sizes = [size.model_dump() for size in case.method.sizes(case.spec, layout)]
    for field in {name for size in sizes for name, value in size.items() if value != sizes[0][name]}:
        value = sizes[0][field]
        if isinstance(value, tuple):
            _refused(case, field, (IMPOSSIBLE,) * len(value), str(IMPOSSIBLE))
        elif isinstance(value, int):
            _refused(case, field, IMPOSSIBLE, str(IMPOSSIBLE))


def overfits(case: Case) -> None:
    """13. Eight examples are overfitted: the loss falls to a tenth in 200 steps at one of three learning rates, or
    in 600 at the preset's own.

    In text form to a half: not every method can make a frozen random T5 certain of its answers.
    """
    tuned = case.tuned()
    if not tuned.trained_names:
        raise NotApplicable("nothing trains")
    start = float(tuned.model(**case.batch).loss.detach())
    goal = start * (0.5 if case.backbone.form == "text" else 0.1)
    ends = []
    own = case.values.get("tuning", {}).get("lr", 1e-3)
    for lr, steps in [*((lr, 200) for lr in LEARNING_RATES), (own, 600)]:
        ends.append(case.train(case.tuned(), steps=steps, lr=lr, until=lambda loss: loss < goal))
        if ends[-1] < goal:
            return
    raise AssertionError(f"the loss on eight examples went from {start:.3f} to {min(ends):.3f} only")


def checkpointing(case: Case) -> None:
    """16. bf16 autocast gives finite gradients and nearly the same loss; gradient checkpointing gives equal gradients.

    Checkpointing is left out where `no_checkpointing` says why: such a run is refused when it is planned.
    """
    tuned = case.tuned()
    if not tuned.trained_names:
        raise NotApplicable("nothing trains")
    disturb(tuned, tuned.adapter_names)
    tuned.model.train()
    plain_loss, plain = _gradients(case, tuned)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half_loss, half = _gradients(case, tuned)
    infinite = [n for n, gradient in half.items() if not bool(gradient.isfinite().all())]
    assert not infinite, f"bf16 gradients are not finite: {infinite[:3]}"
    near = abs(half_loss - plain_loss) <= 0.05 * max(1.0, abs(plain_loss))
    assert near, f"the loss is {half_loss} in bf16 and {plain_loss} in fp32"
    if case.method.no_checkpointing(case.spec) or no_checkpointing(case.bare()):
        return
    enable_checkpointing(tuned.model)
    loss, checkpointed = _gradients(case, tuned)
    same = abs(loss - plain_loss) <= 1e-6 * abs(plain_loss)
    assert same, f"checkpointing changed the loss from {plain_loss} to {loss}"
    apart = [n for n in plain if not torch.allclose(plain[n], checkpointed[n], rtol=1e-4, atol=1e-6)]
    assert not apart, f"checkpointing changed gradients: {apart[:3]}"


CHECKS: dict[str, Callable[[Case], None]] = {
    "YAML and docstring": documented,
    "identity at step 0": identity,
    "trainable names": trainable_names,
    "closed-form count": counts,
    "fast path against reference": fast_path,
    "float64 gradients": gradients,
    "all moves, the rest stays": everything_moves,
    "save and load": save_and_load,
    "disable": disable,
    "merge": merging,
    "seeds": seeded,
    "impossible shape": impossible_shape,
    "overfits eight examples": overfits,
    "lanes": lanes,
    "stop and resume": resuming,
    "checkpointing and bf16": checkpointing,
}


def _gradients(case: Case, tuned: Tuned) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one training-mode pass, dropout drawn from a fixed seed."""
    tuned.model.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = tuned.model(**case.batch).loss
        loss.backward()
    named = tuned.model.named_parameters()
    return float(loss.detach()), {name: p.grad.clone() for name, p in named if p.grad is not None}


def _growth(tuned: Tuned, before: dict[str, Tensor]) -> float:
    """How many times larger the largest entry of a matrix is after merging; at least 1."""
    matrices = [(p.detach(), before[n]) for n, p in tuned.model.named_parameters() if p.dim() == 2]
    grown = [float(now.abs().max() / old.abs().max()) for now, old in matrices if not torch.equal(now, old)]
    return max([1.0, *grown])


def _refused(case: Case, field: str, value: object, shown: str) -> bool:
    """Whether a value is refused, as it must be with a proper message; an accepted value must have the right count."""
    layout = case.backbone.layout
    try:
        spec = case.method.Spec.model_validate({**case.spec.model_dump(), field: value})
        tuned = case.tuned(spec=spec)
    except (UserError, ValidationError) as error:
        message = str(error)
        lacking = [word for word in (field, shown, "egal") if word not in message]
        assert not lacking or isinstance(error, ValidationError), (
            f"{field} {shown}: {message!r} lacks {lacking}"
        )
        return True
    counted, closed_form = count_params(tuned).adapter, case.method.count(spec, layout)
    assert counted == closed_form, f"{field} {shown}: {counted} parameters, closed form {closed_form}"
    return False


def _body(tuned: Tuned, names: set[str]) -> dict[str, nn.Parameter]:
    """The backbone's parameters by the name they have without the method."""
    now = dict(tuned.model.named_parameters())
    if names <= now.keys():
        return {name: now[name] for name in names}
    body = [(n, p) for n, p in tuned.model.named_parameters() if n not in tuned.adapter_names]
    return {name: p for name in names for n, p in body if _plain(n).endswith(name)}


def _plain(name: str) -> str:
    """A wrapped parameter's name as the backbone has it."""
    return re.sub(r"\.(base_layer|modules_to_save\.default|original_module)\b", "", name)
