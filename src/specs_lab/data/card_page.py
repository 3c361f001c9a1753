"""The page of a data set: Markdown with the front matter of a Hugging Face dataset card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

PAIRS_FILE = "pairs.parquet"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_GROUPS = {
    "by_pollution": "How the rejected side misses the format",
    "by_source": "What made the chosen side",
    "by_family": "Families of problems",
    "by_cell": "Cells",
}
_COLUMNS = (
    ("images", "list of pictures: one, or none"),
    ("prompt", "one message of the user"),
    ("chosen", "one message of the assistant: the response to learn"),
    ("rejected", "one message of the assistant: the response to turn away from; null where there is none"),
    ("id, cell, family, answer", "the task's name, its cell and family, and the gold answer"),
    ("source", "what made the chosen side"),
    ("pollution", "how the rejected side's form was spoilt; `own` if it missed the format by itself"),
    ("supplemented", "whether the chosen side's form had to be completed"),
    ("chosen_format, chosen_correct", "whether the chosen side follows the format, and answers rightly"),
    ("rejected_format, rejected_correct", "the same of the rejected side, its answer before its form was spoilt"),
)


def yields(facts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The counts of a card in the order of the way: what went in, what happened on the way, what came out.

    Args:
        facts: As :func:`specs_lab.data.card.card_facts` makes them.
    """
    counts = {
        name: value
        for name, value in facts.items()
        if isinstance(value, int) and name != "pairs" and not name.startswith("pollution/")
    }
    start = next((name for name in ("prompts", "rows") if name in counts), None)
    first = [] if start is None else [(start, counts.pop(start))]
    return [*first, *sorted(counts.items(), key=lambda item: (-item[1], item[0])), ("pairs", facts["pairs"])]


def card_page(facts: Mapping[str, Any]) -> str:
    """The page as Markdown.

    Args:
        facts: As :func:`specs_lab.data.card.card_facts` makes them.
    """
    return "\n\n".join([_front_matter(facts), *_body(facts)]) + "\n"


def _front_matter(facts: Mapping[str, Any]) -> str:
    size = next((label for bound, label in _SIZES if facts["pairs"] < bound), "n>1M")
    task = "image-text-to-text" if facts["distinct"]["pictures"] else "text-generation"
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(facts['construction'])}",
            "task_categories:",
            f"- {task}",
            "size_categories:",
            f"- {size}",
            "tags:",
            *(f"- {tag}" for tag in ("cold-start", *(["preference", "dpo"] if _paired(facts) else ["sft"]))),
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            f"    path: {PAIRS_FILE}",
            "---",
        ]
    )


def _paired(facts: Mapping[str, Any]) -> bool:
    return facts["sides"]["rejected"]["count"] > 0


def _body(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Cold-start data: {_cell(facts['construction'])}"
    yield _opening(facts)
    yield "![Figures of this data set](card.png)"
    yield "## How it was made"
    yield f"Construction `{facts['construction']}` of specs_lab with these settings:"
    yield _table(("setting", "value"), _flat(facts["options"]), numbers=False)
    yield "## Yield"
    yield "What went in, what was dropped or mended on the way (some counts are of responses), and what came out."
    yield _table(("count", "number"), [(name, f"{number:,}") for name, number in yields(facts)])
    yield "## The two sides" if _paired(facts) else "## The responses"
    yield _table(("side", "number", "format followed", "answer right"), _side_rows(facts))
    yield "Length, in characters and in words:"
    yield _table(("side", "in", "mean", "median", "least", "most"), _length_rows(facts["lengths"]))
    for key, title in _GROUPS.items():
        if facts[key]:
            yield f"## {title}"
            share = [(name, f"{n:,}", f"{100 * n / facts['pairs']:.1f} %") for name, n in facts[key].items()]
            yield _table((key.removeprefix("by_"), "pairs", "share"), share)
    yield "## Examples"
    yield "![Some of the pairs](samples.png)"
    yield "## Columns"
    yield _table(("column", "content"), _COLUMNS, numbers=False)
    yield "## Loading it"
    yield _loading(facts)


def _opening(facts: Mapping[str, Any]) -> str:
    distinct = facts["distinct"]
    what = "pairs of a chosen and a rejected response" if _paired(facts) else "responses for supervised fine-tuning"
    return (
        f"{facts['pairs']:,} {what} to {distinct['prompts']:,} different prompts ({distinct['prompt_texts']:,} texts, "
        f"{distinct['pictures']:,} pictures). Near duplicates, which have the picture of an earlier row and, but for "
        f"case and punctuation, its prompt and chosen response: {distinct['near_duplicates']:,}."
    )


def _side_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.1f} %"

    return [
        (name, f"{side['count']:,}", percent(side["format"]), percent(side["correct"]))
        for name, side in facts["sides"].items()
        if side["count"]
    ]


def _length_rows(lengths: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (side, unit, f"{found['mean']:,.1f}", f"{found['median']:,g}", f"{found['least']:,}", f"{found['most']:,}")
        for side in ("chosen", "rejected")
        for unit in ("characters", "words")
        if "mean" in (found := lengths[unit][side])
    ]


def _loading(facts: Mapping[str, Any]) -> str:
    trainer = (
        "Each row is what TRL's `DPOTrainer` takes for vision-language models. For `SFTTrainer`:"
        if _paired(facts)
        else "For TRL's `SFTTrainer`:"
    )
    return "\n".join(
        [
            "```python",
            "from datasets import load_dataset",
            "",
            'pairs = load_dataset("path/of/this/folder", split="train")',
            "```",
            "",
            trainer,
            "",
            "```python",
            'responses = pairs.rename_column("chosen", "completion")',
            'responses = responses.select_columns(["images", "prompt", "completion"])',
            "```",
        ]
    )


def _flat(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return rows


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table, the first column to the left, the others to the right if they are numbers."""
    ruler = ["---"] + ["---:" if numbers else "---"] * (len(heads) - 1)
    lines = [list(heads), ruler, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text as a table's cell or a heading: one line that no mark in it can break."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
