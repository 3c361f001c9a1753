"""Synthetic pictures and texts of exactly chosen sizes, the same for both sides."""

from __future__ import annotations

import io
import random
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.cases import Case, Order
from benchmarks.tokens import TEMPLATE_TOKENS, WORDS, word

_BLOCKS = 8
_PIXELS_A_TOKEN = 28 * 28


@dataclass(frozen=True)
class Example:
    """A prompt with its picture and two completions.

    Attributes:
        key: Names the picture.
        png: The picture as a file's bytes: both sides decode it in every step that shows it.
        prompt: Text of the user's turn.
        chosen: A completion, without the end token that both sides append.
        rejected: Another.
    """

    key: str
    png: bytes
    prompt: str
    chosen: str
    rejected: str

    def image(self) -> Image.Image:
        """Decodes the picture."""
        return Image.open(io.BytesIO(self.png)).convert("RGB")


def picture(size: int, seed: int) -> bytes:
    """A PNG of size x size pixels: random colours in 8 x 8 blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (_BLOCKS, _BLOCKS, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((size, size), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def words(count: int, rng: random.Random) -> str:
    """Text of exactly so many tokens."""
    return "".join(word(rng.randrange(WORDS)) for _ in range(count))


def prompt_tokens(case: Case) -> int:
    """Tokens of a prompt: its template, its picture and its words."""
    return TEMPLATE_TOKENS + case.image**2 // _PIXELS_A_TOKEN + case.text


def examples(case: Case, count: int) -> list[Example]:
    """The first ``count`` examples of a case; the same on every call."""

    def completion(rng: random.Random) -> str:
        length = rng.randint(-(-case.completion // 4), case.completion) if case.varied else case.completion
        return words(length - 1, rng)  # the end token is the last

    made = []
    for index in range(count):
        rng = random.Random(index)
        text, chosen, rejected = words(case.text, rng), completion(rng), completion(rng)
        made.append(Example(f"picture {index}", picture(case.image, index), text, chosen, rejected))
    return made


def given_text(case: Case, prompt: int, index: int) -> str:
    """The ``index``-th given response to a step's ``prompt``-th prompt: of full length, not ended."""
    return words(case.completion, random.Random(1000 * prompt + index))


def stream(order: Order) -> list[Example]:
    """The examples of all steps, one behind the other; repeated where the case says so."""
    distinct = examples(order.case, order.distinct)
    return [distinct[i % len(distinct)] for i in range(order.steps * order.case.prompts)]


def reward(text: str) -> float:
    """A cheap reward in [0, 1) that differs between completions, so that no advantage is zero."""
    return zlib.crc32(text.encode()) % 100_003 / 100_003
