"""Tokenizers: a model's own, or petbench's small one, with which tiny and random models need no download."""

import hashlib
import string
from functools import cache
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, __version__, decoders, models, normalizers, pre_tokenizers, processors

from petbench.config.sections import ModelSpec
from petbench.config.spec import canonical_json
from petbench.errors import UserError
from petbench.models.checks import runs_code
from petbench.models.families import family_of
from petbench.models.family import Tokens
from petbench.models.source import find_source, first_line, has_file, quiet
from petbench.tasks.toy import LEXICON

if TYPE_CHECKING:  # transformers takes seconds, and no mistake should wait for it
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

MAX_LENGTH = 512

# Words of prompts and of answers, so that a text answer such as `not_duplicate` is one token.
LABEL_WORDS = (
    *("acceptable", "unacceptable", "positive", "negative", "equivalent", "not_equivalent"),
    *("duplicate", "not_duplicate", "entailment", "not_entailment", "neutral", "contradiction"),
    *("true", "false", "yes", "no", "sentence", "sentence1", "sentence2", "question", "question1"),
    *("question2", "premise", "hypothesis"),
    *("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"),
)

_BERT_SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
_BERT_ROLES = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
_ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_ROBERTA_ROLES = {
    "bos": "<s>",
    "cls": "<s>",
    "pad": "<pad>",
    "eos": "</s>",
    "sep": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
}
_T5_SPECIALS = ("<pad>", "</s>", "<unk>")
_T5_ROLES = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
_DECODER_SPECIALS = ("<pad>", "<unk>")
_DECODER_ROLES = {"pad": "<pad>", "unk": "<unk>"}

# The special tokens of each style; the ids are those that the config classes of its families expect.
_STYLES: dict[Tokens, tuple[tuple[str, ...], dict[str, str], str | None, str | None]] = {
    "bert": (_BERT_SPECIALS, _BERT_ROLES, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": (_ROBERTA_SPECIALS, _ROBERTA_ROLES, "<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "t5": (_T5_SPECIALS, _T5_ROLES, "$A </s>", "$A </s> $B </s>"),
    "decoder": (_DECODER_SPECIALS, _DECODER_ROLES, None, None),
}


def load_tokenizer(spec: ModelSpec, config: "PreTrainedConfig") -> "PreTrainedTokenizerBase":
    """The model's own tokenizer, petbench's small one, or the one that a name gives; without segment ids where the
    model tells no segments apart.

    Raises UserError when it is out of reach, cannot be read or has no files, or when the small one is asked for
    with pretrained weights.
    """
    if spec.tokenizer == "built":
        if spec.weights != "random":
            raise UserError(
                "model.tokenizer: 'built' numbers its tokens otherwise than any pretrained model. "
                "Legal with model.weights=pretrained: same, a hub id or a folder."
            )
        tokenizer: PreTrainedTokenizerBase = build_tokenizer(config.model_type)
    else:
        tokenizer = _read(spec, config)
    if (getattr(config, "type_vocab_size", 0) or 0) < 2:
        # Given segment ids, GPT-2 would add word embeddings for them and other models would fail.
        inputs = tokenizer.model_input_names
        tokenizer.model_input_names = [kind for kind in inputs if kind != "token_type_ids"]
    return tokenizer


def _read(spec: ModelSpec, config: "PreTrainedConfig") -> "PreTrainedTokenizerBase":
    """A tokenizer from files."""
    from transformers import AutoTokenizer  # transformers takes seconds

    name = spec.name if spec.tokenizer == "same" else spec.tokenizer
    own = spec.tokenizer == "same"
    try:
        source = find_source(name, spec.revision if own else None, "model.name" if own else "model.tokenizer")
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source.where, config=config, **source.arguments)
    except (
        Exception
    ) as error:  # the tokenizers library raises a plain Exception for a file that it cannot read
        raise _cannot_load(spec, error) from error
    if tokenizer.init_kwargs.get("auto_map"):
        raise runs_code(f"model.tokenizer: the tokenizer of '{name}'")
    files = (
        {*tokenizer.vocab_files_names.values(), "tokenizer.json"} if tokenizer.vocab_files_names else set()
    )
    if files and not any(has_file(source, file) for file in files):
        # transformers has silently made a tokenizer of the special tokens alone.
        raise _cannot_load(spec, FileNotFoundError(f"there is none of {', '.join(sorted(files))}."))
    if tokenizer.pad_token is None:  # GPT-2, Llama: padding is masked, so the end token serves
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _cannot_load(spec: ModelSpec, error: Exception) -> UserError:
    """The message for a tokenizer that is not there or cannot be read."""
    if "trust_remote_code" in str(error):
        return runs_code(f"model.tokenizer: '{spec.name if spec.tokenizer == 'same' else spec.tokenizer}'")
    reason = first_line(error)
    if reason.startswith("Couldn't instantiate the backend tokenizer"):
        reason = "there is no file with its tokens."
    if spec.tokenizer == "same":
        return UserError(
            f"model.tokenizer: the tokenizer of '{spec.name}' cannot be read: {reason}\nIts files are "
            f"missing, broken or made for other versions than tokenizers {__version__}. Fetch them again, or give "
            f"model.tokenizer=FOLDER{' or built' if spec.weights == 'random' else ''}."
        )
    return UserError(
        f"model.tokenizer: got '{spec.tokenizer}', which cannot be read: {reason}\n"
        "Legal: same (the model's own), a folder, a hub id that is in reach or in the local cache; "
        "built with model.weights=random."
    )


def build_tokenizer(model_type: str) -> "PreTrainedTokenizerFast":
    """The small tokenizer in the style of an architecture: its special tokens and pair template.

    Lower-case WordPiece over whitespace-split text: the toy tasks' words, label words and every
    printable ASCII character, alone and as a continuation. Text of single-spaced lower-case printable
    ASCII decodes back exactly, so `3.8` and `not_entailment` are safe as answers. Every call gives the same.
    Raises UserError for an unknown architecture.
    """
    from transformers import PreTrainedTokenizerFast  # transformers takes seconds

    family = family_of(model_type)
    specials, roles, single, pair = _STYLES[family.tokens]
    vocabulary = {token: index for index, token in enumerate(_vocabulary(specials))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=roles["unk"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    # Whitespace only: splitting at punctuation would lose where the spaces were.
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    if single is not None and pair is not None:
        used = [token for token in specials if token in single.split() or token in pair.split()]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[(token, vocabulary[token]) for token in used]
        )
    inputs = ["input_ids", "attention_mask"]
    if family.segments:
        inputs.insert(1, "token_type_ids")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        model_input_names=inputs,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": token for role, token in roles.items()},
    )


@cache
def built_digest(model_type: str) -> str:
    """SHA-256 (hex) of what the small tokenizer of an architecture is made of; nothing is built.

    Raises UserError for an unknown architecture.
    """
    family = family_of(model_type)
    specials, *rest = _STYLES[family.tokens]
    content = canonical_json([_vocabulary(specials), *rest, family.segments, MAX_LENGTH])
    return hashlib.sha256(content.encode()).hexdigest()


def _vocabulary(specials: tuple[str, ...]) -> list[str]:
    """Special tokens, characters, their continuations, numbers and words, in a fixed order."""
    characters = sorted({char.lower() for char in string.printable if not char.isspace()})
    words = sorted({word.lower() for word in (*LEXICON, *LABEL_WORDS)})
    everything = [*specials, *characters, *(f"##{char}" for char in characters), *words]
    return list(dict.fromkeys(everything))
