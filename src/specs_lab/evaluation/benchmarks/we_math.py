"""We-Math (arXiv 2407.01284): problems of two or three steps beside their steps as problems of their own.

A problem of several steps and the one-step problems that it decomposes into make a group. With :math:`s_i` whether step
i is answered rightly and m whether the whole problem is, a group is one of

- IK, insufficient knowledge: not m, and some step is wrong;
- IG, inadequate generalization: not m, and every step is right;
- CM, complete mastery: m, and every step is right (strict), or at least one is (loose);
- RM, rote memorization: m otherwise.

Of N groups the average score is ``(0.5 * IG + CM) / N``; IK, IG and CM are given as shares of N, RM as a share of
``CM + RM``. Dataset We-Math/We-Math, split ``testmini``: 1740 problems, 525 groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from specs_lab.evaluation.benchmarks.answers import judge_answer
from specs_lab.evaluation.benchmarks.base import (
    BENCHMARKS,
    COUNTS,
    Benchmark,
    Item,
    Parts,
    Scored,
    Summary,
    accuracy_parts,
)
from specs_lab.evaluation.benchmarks.cells import letter_at, picture_in, text_in, with_readable_gold, without_marks
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge

MULTI = "multi"
_KEY = re.compile(r"([23])steps_([123]|multi)")
_OPTION = re.compile(r"(?:^|;|\n)\s*([A-Z])\s*[.:)]\s*")
_TEMPLATE = re.compile(r"<Answer>[\s:<]*([^<>\n]*)")
"""The place of the answer in the form that the public evaluation asks for."""
_HALF = 0.5


@dataclass(frozen=True)
class Level:
    """What a group is.

    Attributes:
        insufficient: Whether it is IK.
        inadequate: Whether it is IG.
        mastered: Whether it is CM.
        rote: Whether it is RM.
    """

    insufficient: bool
    inadequate: bool
    mastered: bool
    rote: bool


def level_of(steps: Sequence[bool], whole: bool, *, strict: bool) -> Level:
    """What a group is.

    Args:
        steps: Whether each step is answered rightly.
        whole: Whether the problem of several steps is.
        strict: Whether mastery needs every step to be right, not one.
    """
    known, enough = all(steps), all(steps) if strict else any(steps)
    return Level(not whole and not known, not whole and known, whole and enough, whole and not enough)


@BENCHMARKS.register("we_math")
class WeMath(Benchmark):
    """We-Math; all questions have options."""

    name: ClassVar[str] = "we_math"

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row; ``option`` is one text with all options."""
        key, group, answer = text_in(row, "key"), text_in(row, "ID"), text_in(row, "answer")
        match = _KEY.fullmatch(key)
        if match is None or (match[1] == "2" and match[2] == "3"):
            raise BrokenRow("unknown_key", f"the key '{key}' is no step of a problem of two or three steps")
        choices = options_in(text_in(row, "option"))
        if not (len(answer) == 1 and "A" <= answer <= letter_at(len(choices) - 1)):
            raise BrokenRow("gold_no_option", f"the answer {answer[:80]!r} is none of the {len(choices)} options")
        concept = text_in(row, "knowledge concept", blank=True)
        problem = ProblemRow(
            id=f"{group}/{key}",
            question=without_marks(text_in(row, "question")),
            answer=answer,
            images=(picture_in(row, "image_path"),),
            kind="choice",
            choices=choices,
            family=concept,
            about={"concept": concept} if concept else {},
        )
        extra = {"option": text_in(row, "option"), "group": f"{match[1]}steps/{group}", "step": match[2]}
        return Item(row=with_readable_gold(problem), extra=extra)

    def ask(self, item: Item) -> str:
        """As the public evaluation asks, without its template for the answer."""
        return (
            "Now, we require you to solve a multiple-choice math question. Please briefly describe your thought "
            "process and provide the final answer(option).\n"
            f"Question: {item.row.question}\nOption: {item.extra['option']}"
        )

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """By letter or text of the option; also ``<Answer>: <<B>>``, as the public template has it."""
        places = _TEMPLATE.findall(response)
        if places and "</answer>" not in response:
            return judge_answer(item.row, f"<answer>{places[-1]}</answer>", judge)
        return judge_answer(item.row, response, judge)

    def unit(self, item: Item) -> str:
        """The group, which is a problem with its steps."""
        return item.extra["group"]

    def parts(self, scored: Scored) -> Parts:
        """Accuracy by number of steps and by concept; the four levels and the average score, in both settings."""
        groups = list(complete_groups(scored).values())
        found = accuracy_parts(scored, _labels, self.unit)
        for name in ("strict", "loose"):
            levels = [level_of(steps, whole, strict=name == "strict") for steps, whole in groups]
            if levels:
                found |= {
                    f"{name}/average": [(_HALF * one.inadequate + one.mastered, 1.0) for one in levels],
                    f"{name}/insufficient_knowledge": [(float(one.insufficient), 1.0) for one in levels],
                    f"{name}/inadequate_generalization": [(float(one.inadequate), 1.0) for one in levels],
                    f"{name}/complete_mastery": [(float(one.mastered), 1.0) for one in levels],
                    f"{name}/rote_memorization": [(float(o.rote), float(o.rote or o.mastered)) for o in levels],
                }
        return found

    def summary(self, scored: Scored) -> Summary:
        """All that, and how many groups are complete."""
        complete = complete_groups(scored)
        every = {item.extra["group"] for item, _ in scored}
        found = {"complete": len(complete), "incomplete": len(every) - len(complete)}
        counts = {f"{COUNTS}{name}": float(count) for name, count in found.items()}
        return {**super().summary(scored), **counts}


def complete_groups(scored: Scored) -> dict[str, tuple[tuple[bool, ...], bool]]:
    """(whether each step is right, whether the whole is) by group; groups that miss a row are left out."""
    right: dict[str, dict[str, bool]] = {}
    for item, verdict in scored:
        right.setdefault(item.extra["group"], {})[item.extra["step"]] = verdict.correct
    wanted = {name: [str(step + 1) for step in range(int(name[0]))] for name in right}
    return {
        name: (tuple(found[step] for step in wanted[name]), found[MULTI])
        for name, found in right.items()
        if all(step in found for step in (*wanted[name], MULTI))
    }


def _labels(item: Item) -> Iterator[str]:
    yield f"steps/{item.extra['group'][0] if item.extra['step'] == MULTI else 1}"
    if "concept" in item.row.about:
        yield f"concept/{item.row.about['concept']}"


def options_in(text: str) -> tuple[str, ...]:
    """The options' texts of "A. x; B. y; C. z", A first.

    Raises:
        BrokenRow: ``no_options`` if they are not lettered in order.
    """
    places = list(_OPTION.finditer(text))
    # a formula of an option may look like the start of another; the letters are in order, so the next one counts
    kept = []
    for place in places:
        if place[1] == letter_at(len(kept)):
            kept.append(place)
    if len(kept) < 2:
        raise BrokenRow("no_options", f"{text[:80]!r} is no list of options")
    ends = [place.start() for place in kept[1:]] + [len(text)]
    return tuple(text[place.end() : end].strip().rstrip(";").strip() for place, end in zip(kept, ends, strict=True))
