"""The card of a data set: what it holds and how it was made, as JSON, as a page and as two pictures."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from specs_lab.data.card_page import card_page
from specs_lab.data.card_pictures import draw_card, draw_samples
from specs_lab.data.records import PairRecord

_BINS = 20
_WORD = re.compile(r"\w+")


def write_card(
    folder: Path, *, name: str, options: Mapping[str, Any], records: Sequence[PairRecord], counts: Mapping[str, int]
) -> None:
    """Writes ``card.json``, ``README.md``, ``card.png`` and ``samples.png`` beside the pairs.

    The same pairs give the same files, byte for byte.

    Args:
        folder: The folder that holds ``pairs.parquet``.
        name: Name of the construction.
        options: Its settings; they may be nested.
        records: The pairs; at least one.
        counts: How many prompts and responses got how far. They stay at the top level of ``card.json``.

    Raises:
        ValueError: If there are no records.
    """
    if not records:
        raise ValueError("a card needs at least one pair")
    facts = card_facts(name, options, records, counts)
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(card_page(facts), encoding="utf-8")
    draw_card(facts, folder / "card.png")
    draw_samples(records, folder / "samples.png")


def card_facts(
    name: str, options: Mapping[str, Any], records: Sequence[PairRecord], counts: Mapping[str, int]
) -> dict[str, Any]:
    """What ``card.json`` holds.

    Returns:
        The counts by name, with ``pairs`` the number of records, and:
        ``construction`` and ``options``;
        ``sides``: of each side, how many there are, and the share that follows its format and that is right (of those
        where it is known; None if of none);
        ``lengths``: of each side, in characters and in words: mean, median, least, most, and a histogram whose bins
        both sides share (edges are lower bounds; the last edge ends the last bin);
        ``by_family``, ``by_cell``, ``by_source`` and ``by_pollution``: numbers of pairs;
        ``distinct``: numbers of different prompts (text and picture), texts of prompts, pictures and chosen sides, and
        ``near_duplicates``: pairs that an earlier pair equals in its picture and in the words of prompt and chosen.
    """
    sides = {"chosen": [r.chosen for r in records], "rejected": [r.rejected for r in records if r.rejected is not None]}
    return {
        **dict(sorted(counts.items())),
        "pairs": len(records),
        "construction": name,
        "options": dict(options),
        "sides": {
            "chosen": _side([r.chosen_format for r in records], [r.chosen_correct for r in records]),
            "rejected": _side(
                [r.rejected_format for r in records if r.rejected is not None],
                [r.rejected_correct for r in records if r.rejected is not None],
            ),
        },
        "lengths": {
            "characters": _lengths({side: [len(text) for text in texts] for side, texts in sides.items()}),
            "words": _lengths({side: [len(text.split()) for text in texts] for side, texts in sides.items()}),
        },
        "by_family": _by(record.family for record in records),
        "by_cell": _by(record.cell for record in records),
        "by_source": _by(record.source for record in records),
        "by_pollution": _by(record.pollution for record in records),
        "distinct": _distinct(records),
    }


def _by(values: Any) -> dict[str, int]:
    """How often each value occurs, the most frequent first; unnamed ones are left out."""
    found = Counter(value for value in values if value)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _side(follows: Sequence[bool | None], right: Sequence[bool | None]) -> dict[str, Any]:
    def share(flags: Sequence[bool | None]) -> float | None:
        known = [flag for flag in flags if flag is not None]
        return sum(known) / len(known) if known else None

    return {"count": len(follows), "format": share(follows), "correct": share(right)}


def _lengths(sides: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    width = _bin_width(max(max(lengths, default=0) for lengths in sides.values()))
    bins = 1 + max(length // width for lengths in sides.values() for length in lengths)
    return {
        "edges": [width * i for i in range(bins + 1)],
        **{side: _summary(lengths, width, bins) for side, lengths in sides.items()},
    }


def _summary(lengths: Sequence[int], width: int, bins: int) -> dict[str, Any]:
    if not lengths:
        return {"histogram": [0] * bins}
    found = Counter(length // width for length in lengths)
    return {
        "mean": fmean(lengths),
        "median": median(lengths),
        "least": min(lengths),
        "most": max(lengths),
        "histogram": [found[i] for i in range(bins)],
    }


def _bin_width(most: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that needs no more than about 20 bins."""
    power = 10 ** max(0, math.floor(math.log10(max(most / _BINS, 1))))
    return next(step * power for step in (1, 2, 5, 10) if step * power * _BINS >= most)


def _distinct(records: Sequence[PairRecord]) -> dict[str, int]:
    pictures = [_picture_digest(record) for record in records]
    words = [
        (picture, *(tuple(_WORD.findall(text.casefold())) for text in (record.prompt, record.chosen)))
        for record, picture in zip(records, pictures, strict=True)
    ]
    return {
        "prompts": len({(record.prompt, picture) for record, picture in zip(records, pictures, strict=True)}),
        "prompt_texts": len({record.prompt for record in records}),
        "pictures": len({picture for picture in pictures if picture}),
        "chosen": len({record.chosen for record in records}),
        "near_duplicates": len(records) - len(set(words)),
    }


def _picture_digest(record: PairRecord) -> str:
    if not record.images:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for image in record.images:
        digest.update(repr((image.mode, image.size)).encode() + image.tobytes())
    return digest.hexdigest()
