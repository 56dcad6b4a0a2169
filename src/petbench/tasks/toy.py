"""Generated rows for every task, seeded and learnable: each GLUE task has its own generator, others share one.

The words come from a small fixed lexicon. The rows depend on the task, the split and the number of rows only, never on
a run's seed, and a shorter split is the beginning of a longer one. Train texts never occur in another split.
"""

import random
import zlib
from collections.abc import Callable
from functools import partial

from petbench.config.task import Task
from petbench.tasks.splits import Split, Splits

NOTE = "The rows are generated (data=toy): scores say nothing about GLUE."
TOY_VERSION = 1  # raise it when the rows change
_EVERY = 4  # one text in four, chosen by its checksum, belongs to validation and test

AGENTS = ("dog", "cat", "horse", "teacher", "doctor", "farmer", "singer", "pilot", "child", "king")
THINGS = ("table", "box", "car", "house", "stone", "book", "lamp", "door", "boat", "chair")
OTHERS = ("storm", "river", "market", "winter", "engine", "camera", "island", "paper", "ticket", "garden")
VERBS = ("watches", "follows", "carries", "paints", "moves", "sells", "finds", "keeps")
SYNONYMS = {
    "big": "large",
    "small": "little",
    "fast": "quick",
    "old": "ancient",
    "happy": "glad",
    "clean": "tidy",
}
ADJECTIVES = tuple(SYNONYMS)
GOOD = ("wonderful", "brilliant", "charming", "funny", "moving", "excellent", "beautiful", "great")
BAD = ("terrible", "boring", "awful", "stupid", "painful", "dull", "ugly", "weak")
WORKS = ("film", "story", "plot", "cast", "ending", "music", "script", "show")
PLACES = ("in the park", "at the school", "in the city", "near the lake", "on the hill", "at the station")
TIMES = ("in the morning", "at night", "on monday", "after lunch", "before dinner", "in summer")
EXTRAS = (
    "because of the money",
    "for a friend",
    "with a secret plan",
    "to win a prize",
    "for the first time",
)
FEELINGS = ("hungry", "angry", "afraid", "proud", "asleep", "sorry")
MATTER = ("heavy", "wooden", "broken", "empty", "painted", "dusty")

Row = tuple[tuple[str, ...], int | float]  # text fields, label
Maker = Callable[[random.Random], Row]


def _scene(rng: random.Random) -> tuple[str, str, str, str, str]:
    """Adjective, agent, verb, adjective, thing."""
    first, second = rng.sample(ADJECTIVES, 2)
    return first, rng.choice(AGENTS), rng.choice(VERBS), second, rng.choice(THINGS)


def _say(scene: tuple[str, str, str, str, str], tail: str = "") -> str:
    first, agent, verb, second, thing = scene
    return " ".join(f"the {first} {agent} {verb} the {second} {thing} {tail} .".split())


def _cola(rng: random.Random) -> Row:
    """A sentence; in two of five rows, one with its words in a wrong order."""
    scene = _scene(rng)
    sentence = _say(scene, rng.choice((*PLACES, "")))
    if rng.random() < 0.6:
        return (sentence,), 1
    first, agent, verb, second, thing = scene
    broken = rng.choice(
        (
            f"{agent} the {first} the {verb} {second} the {thing} .",
            f"{verb} the the {agent} {thing} {second} .",
        )
    )
    return (broken,), 0


def _sst2(rng: random.Random) -> Row:
    """Two adjectives, both good (1) or both bad (0)."""
    label = rng.randrange(2)
    one, two = rng.sample(GOOD if label else BAD, 2)
    work, other = rng.sample(WORKS, 2)
    shape = rng.choice(
        ("the {w} is {a} and the {o} is {b} .", "a {a} {w} with a {b} {o} .", "{a} {w} , {b} {o} .")
    )
    return (shape.format(w=work, o=other, a=one, b=two),), label


def _paraphrase(rng: random.Random, positive: float) -> tuple[str, str, int]:
    """A sentence, and the same with synonyms of both adjectives (1) or with two other nouns (0)."""
    scene = _scene(rng)
    first, agent, verb, second, thing = scene
    tail = rng.choice((*TIMES, ""))
    if rng.random() < positive:
        return _say(scene, tail), _say((SYNONYMS[first], agent, verb, SYNONYMS[second], thing), tail), 1
    one, two = rng.sample(OTHERS, 2)
    return _say(scene, tail), _say((first, one, verb, second, two), tail), 0


def _mrpc(rng: random.Random) -> Row:
    one, two, label = _paraphrase(rng, 0.6)
    return (one, two), label


def _qqp(rng: random.Random) -> Row:
    one, two, label = _paraphrase(rng, 0.45)
    return (f"why do you think {one[:-2]} ?", f"why do you think {two[:-2]} ?"), label


def _stsb(rng: random.Random) -> Row:
    """The score is 5 minus the number of replaced words (of five content words), plus or minus up to 0.4."""
    scene = list(_scene(rng))
    changed = rng.randrange(6)
    other = list(scene)
    for place, word in zip(rng.sample(range(5), changed), rng.sample(OTHERS, changed), strict=True):
        other[place] = word
    score = 5 - changed + rng.choice((-0.4, -0.2, 0.0, 0.2, 0.4))
    return (_say(tuple(scene)), _say(tuple(other))), round(min(5.0, max(0.0, score)), 1)  # type: ignore[arg-type]


def _mnli(rng: random.Random) -> Row:
    """Entailment leaves words out, neutral adds some, contradiction negates."""
    scene = _scene(rng)
    _, agent, verb, _, thing = scene
    premise = _say(scene, rng.choice((*PLACES, *TIMES)))
    label = rng.randrange(3)
    hypothesis = (
        f"the {agent} {verb} the {thing} .",
        f"the {agent} {verb} the {thing} {rng.choice(EXTRAS)} .",
        f"the {agent} never {verb} the {thing} .",
    )[label]
    return (premise, hypothesis), label


def _qnli(rng: random.Random) -> Row:
    """A question about place or time, and its answer (0), or a sentence with other nouns or the other answer (1)."""
    scene = _scene(rng)
    first, agent, verb, second, thing = scene
    place = rng.random() < 0.5
    right, wrong = (PLACES, TIMES) if place else (TIMES, PLACES)
    question = f"{'where' if place else 'when'} does the {agent} find the {thing} ?"
    if rng.random() < 0.5:
        return (question, _say(scene, rng.choice(right))), 0
    if rng.random() < 0.8:
        one, two = rng.sample(OTHERS, 2)
        return (question, _say((first, one, verb, second, two))), 1
    return (question, _say(scene, rng.choice(wrong))), 1


def _rte(rng: random.Random) -> Row:
    """Entailment (0) leaves words out; otherwise (1) the nouns are others (most often) or the sentence is negated."""
    scene = _scene(rng)
    _, agent, verb, _, thing = scene
    premise = _say(scene, rng.choice((*PLACES, *TIMES)))
    if rng.random() < 0.5:
        return (premise, f"the {agent} {verb} the {thing} ."), 0
    if rng.random() < 0.8:
        one, two = rng.sample(OTHERS, 2)
        return (premise, f"the {one} {verb} the {two} ."), 1
    return (premise, f"the {agent} never {verb} the {thing} ."), 1


def _wnli(rng: random.Random) -> Row:
    """The pronoun means the agent if the adjective is a feeling, and the thing if it is a property of matter."""
    _, agent, verb, _, thing = _scene(rng)
    feels = rng.random() < 0.85
    quality = rng.choice(FEELINGS if feels else MATTER)
    label = rng.randrange(2)
    meant = agent if feels == bool(label) else thing
    return (
        f"the {agent} {verb} the {thing} because it was {quality} .",
        f"the {meant} was {quality} .",
    ), label


_MAKERS: dict[str, Maker] = {
    "cola": _cola,
    "sst2": _sst2,
    "mrpc": _mrpc,
    "stsb": _stsb,
    "qqp": _qqp,
    "mnli": _mnli,
    "qnli": _qnli,
    "rte": _rte,
    "wnli": _wnli,
    "ax": _mnli,
}


def _by_schema(task: Task, rng: random.Random) -> Row:
    """A row of any task: each class has words of its own; a number counts the good words among five."""
    if task.regression:
        good = rng.randrange(6)
        low, high = task.bounds
        words = [*rng.sample(GOOD, good), *rng.sample(BAD, 5 - good)]
        rng.shuffle(words)
        label: int | float = low + (high - low) * good / 5
        first = " ".join(("the", *words, rng.choice(WORKS), "."))
    else:
        label = rng.randrange(task.num_labels)
        own = _OWN_WORDS[label % len(_OWN_WORDS) :: task.num_labels]
        scene = _scene(rng)
        first = _say((scene[0], scene[1], scene[2], scene[3], rng.choice(own)), rng.choice((*TIMES, "")))
    others = [_say(_scene(rng)) for _ in task.text_fields[1:]]
    return (first, *others), label


_OWN_WORDS = (*OTHERS, *MATTER, *FEELINGS, *THINGS)  # each of n classes takes every n-th word
_FRAME = "the a is and with was it because never why do you think where when does find , . ?"

LEXICON: tuple[str, ...] = tuple(
    sorted(
        {
            word
            for words in (
                AGENTS, THINGS, OTHERS, VERBS, ADJECTIVES, tuple(SYNONYMS.values()), GOOD, BAD, WORKS,
                PLACES, TIMES, EXTRAS, FEELINGS, MATTER, (_FRAME,),
            )
            for phrase in words
            for word in phrase.split()
        }
    )
)  # fmt: skip
"""Every word and punctuation mark of toy rows, for the vocabulary of small tokenizers."""


def toy_splits(task: Task, train_rows: int, validation_rows: int) -> Splits:
    """All splits of a task, generated. Test splits are as long as validation splits and have no labels."""
    parts = {}
    for name in task.splits:
        size = train_rows if name == task.train else validation_rows
        parts[name] = _toy_split(task, name, size, held_out=name != task.train)
    return Splits(task.name, "toy", f"generated rows (toy {TOY_VERSION})", parts)


def _toy_split(task: Task, name: str, size: int, *, held_out: bool) -> Split:
    """Distinct rows as long as new ones can be found; after 200 repeats in succession a repeated row is taken."""
    rng = random.Random(f"petbench toy {TOY_VERSION} {task.name} {name}")
    make = _MAKERS[task.name] if task.glue is not None else partial(_by_schema, task)
    rows: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    repeats = 0
    while len(rows) < size:
        row = make(rng)
        # The checksum of a text says whether it may be in train or in the other splits: no text can be in both.
        if (zlib.crc32("\t".join(row[0]).encode()) % _EVERY == 0) != held_out:
            continue
        if row[0] in seen and repeats < 200:
            repeats += 1
            continue
        repeats = 0
        seen.add(row[0])
        rows.append(row)
    texts = {field: [row[0][i] for row in rows] for i, field in enumerate(task.text_fields)}
    labels = None if name in task.test else [row[1] for row in rows]
    return Split(name, list(range(size)), texts, labels)
