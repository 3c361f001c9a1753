"""A tokenizer of any vocabulary size in which text of exactly ``n`` tokens is easy to write."""

from __future__ import annotations

from itertools import islice, product
from string import ascii_lowercase

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END_TOKEN = "<|im_end|>"
PAD_TOKEN = "<|endoftext|>"
IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (PAD_TOKEN, "<|im_start|>", END_TOKEN, VISION_START, VISION_END, IMAGE_TOKEN, VIDEO_TOKEN)
ROLES = ("system", "user", "assistant")
WORDS = 1024
"""Words that text is made of; every vocabulary holds them."""

# A turn's newline stands before the next turn, not behind the turn as in Qwen's own template: so a completion is its
# words and the end token, for TRL (which renders it by the template) as for specs_lab (which appends the end token).
# The newline is written as an expression since the template engine drops one that follows a block's end.
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n' }}<|im_start|>assistant\n{% endif %}"
)
TEMPLATE_TOKENS = 10
"""Tokens of a user turn beside its words and its picture's placeholders, up to where the answer begins."""


def word(index: int) -> str:
    """The ``index``-th word, with the space before it; one token."""
    letters = []
    for _ in range(4):
        index, letter = divmod(index, 26)
        letters.append(ascii_lowercase[letter])
    return " " + "".join(reversed(letters))


def make_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose every id is a byte, a role, a word of four letters or a special token.

    Args:
        vocab_size: Exact size, special tokens included.

    Raises:
        ValueError: If the vocabulary is too small for the words of the texts.
    """
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *ROLES]
    room = vocab_size - len(pieces) - len(SPECIAL_TOKENS)
    if room < WORDS:
        raise ValueError(f"a vocabulary of {vocab_size} has no room for {WORDS} words")
    pieces += ["Ġ" + "".join(letters) for letters in islice(product(ascii_lowercase, repeat=4), room)]
    # `ignore_merges`: a whole word that is in the vocabulary is its token, whatever the merges (there are none).
    bpe = models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], ignore_merges=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        extra_special_tokens={"image_token": IMAGE_TOKEN, "video_token": VIDEO_TOKEN},
        padding_side="left",
    )
