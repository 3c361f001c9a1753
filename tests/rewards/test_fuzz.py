"""Random texts, seeded: whatever is sampled, grading it gives a well-formed verdict and raises nothing.

About 100 000 texts are graded by default, and as many read as mathematics; the same on every run. With
``SPECS_LAB_FUZZ=2000000`` in the environment there are that many of each: the usual ones first, then new ones.
"""

import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.rewards import grader
from specs_lab.rewards.algebra.notation import read_expression, read_matrix, read_relation
from specs_lab.rewards.extraction import extract
from specs_lab.rewards.format import FORMATS, answer_of, follows, parse, share_followed
from specs_lab.rewards.grader import Gold, Verdict, grade, grade_many, read_gold, terms_of
from specs_lab.rewards.isolation.workers import Reply, shared_pool
from specs_lab.rewards.quantities import read_quantity, read_ratio
from specs_lab.rewards.units import read_unit

TEXTS = int(os.environ.get("SPECS_LAB_FUZZ", "100000"))
CHUNK = 500

# Gold answers of every kind, with what the problem says beside them.
GOLDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "choice": [("B", {}), ("A, C", {}), ("B", {"choices": ("3", "5", "red", "a right angle")})],
    "word": [("cat", {}), ("red circle", {}), ("AB", {}), ("3:30", {})],
    "boolean": [("yes", {}), ("no", {})],
    "integer": [("14", {}), ("-3", {}), ("5 cm", {}), ("7", {"unit": "apples"}), ("1234", {})],
    "number": [("0.5", {}), ("3.14", {"precision": 2}), ("12.5", {"unit": "%"}), ("0.125", {"unit": "1"}), ("$5", {})],
    "fraction": [("3/4", {}), ("\\frac{-1}{3}", {}), ("1 3/4", {"unit": "kg"})],
    "ratio": [("3:4", {}), ("1:2:3", {})],
    "list": [("1, 2, 3", {}), ("red, blue", {}), ("x, 2x", {})],
    "set": [("{1, 2}", {}), ("\\emptyset", {}), ("{x, \\sqrt{2}}", {})],
    "interval": [("[1, 3)", {}), ("(-\\infty, 2] \\cup [5, 6)", {}), ("x > \\sqrt{2}", {})],
    "expression": [("2x+2", {}), ("\\sqrt{8}", {}), ("\\pi", {"precision": 2})],
    "equation": [("y=2x+1", {})],
    "matrix": [("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", {}), ("[[1, x]]", {})],
    "box": [("[10, 10, 50, 50]", {}), ("[0, 0, 1, 1]", {"precision": 0.9})],
    "point": [("(3, 4)", {"precision": 2.0}), ("[10, 10, 50, 50]", {})],
}
ASK = ("list", "set", "interval", "expression", "equation", "matrix")
"""The kinds that may ask a worker."""
SAMPLES = {
    "choice": ["B", "(b)", "B. 5", "Option B", "A and C", "AC", "B or C"],
    "word": ["cat", "The Red  Circle", "BA", "3:30", "cat or dog"],
    "boolean": ["yes", "No, because of it.", "True", "yes and no", "incorrect"],
    "integer": ["14", "1,234", "-0", "\u22123", "1.4\\times 10^{1}", "twenty-one", "5 cm", "0.05 m", "7 apples"],
    "number": ["0.5", ".5", "\\frac12", "1e-3", "12.5\\%", "12.5 percent", "\\$5.00", "5 dollars", "3.14159"],
    "fraction": ["\\dfrac{3}{4}", "6/8", "1\\frac{3}{4}", "1 3/4", "3:4", "-1/3"],
    "ratio": ["3:4", "3 to 4", "6:8", "\\frac{3}{4}", "2:4:6"],
    "list": ["1, 2, 3", "[1; 2; 3]", "red and blue", "x, x+x", "(1, 2), (3, 4)"],
    "set": ["\\left\\{1, 2\\right\\}", "2 or 1", "\\emptyset", "{{1}, 2}", "{\\frac{2}{\\sqrt{2}}, x}"],
    "interval": ["\\left[1, 3\\right)", "1 \\le x < 3", "(-\\infty,2]\\cup[5,6)", "x >= 2", "x<1 or x>\\sqrt{3}"],
    "expression": ["2*(x+1)", "2\\sqrt{2}", "sqrt(8)", "x^{2}_1", "\\frac{d}{2a}", "\\sin^2 x", "|x-1|!", "9^{9^{9}}"],
    "equation": ["2x+1=y", "y-2x-1=0", "2y=4x+2", "f(x)=x=2"],
    "matrix": ["[[1,2],[3,4]]", "\\begin{bmatrix}1&x\\end{bmatrix}", "\\begin{array}{cc}1&2\\\\3\\end{array}"],
    "box": ["[12,12,52,52]", "(1,1),(5,5)", '{"bbox_2d": [1, 2, 3.5, 4]}', "<|box_start|>(1,1),(5,5)<|box_end|>"],
    "point": ["(3, 4)", '{"point_2d": [3, 4]}', "<|point_start|>3 4<|point_end|>"],
}
PIECES = [
    *"0123456789+-*/^_=<>()[]{}|!,.;:%$&#'\"`~\\?@ \n\t",
    *("x", "e", "i", "a", "B", "cm", "kg", "apples", "or", "and", "not", "yes", "no", "to", "per", "seven"),
    *(
        "\\frac",
        "\\frac{1}{2}",
        "\\sqrt{",
        "\\text{",
        "\\boxed{",
        "\\left",
        "\\right",
        "\\{",
        "\\}",
        "\\\\",
        "\\begin{",
    ),
    *(
        "\\cdot",
        "\\pi",
        "\\infty",
        "\\cup",
        "\\le",
        "\\circ",
        "\\%",
        "\\,",
        "\\sin",
        "\\log_",
        "\\binom",
        "10^{",
        "e99",
    ),
    *("<think>", "</think>", "<answer>", "</answer>", "<final>", "####", "Answer:", "the answer is", "```json"),
    *("\u200b", "\ufeff", "\u202e", "\u2066", "\u00ad", "\u0301", "\u0430", "\u00b2", "\u0663", "\uff17", "\u2212"),
    *("\x00", "\x1b", "\x1c", "\u2028", "\u00a0", "\u3000", "\ud800", "\U000e0041", "\U0001f600", "\u017f", "\u212a"),
    *("9" * 50, "(" * 40, "{" * 40, " " * 60, "-" * 30, "\\text{" * 20, "1," * 30, "x^" * 20, "1e999999999"),
]
WRAPPERS = [
    *("{}", "\\boxed{{{}}}", "<answer> {} </answer>", "<think> so </think> <answer> {} </answer>", "so\n#### {}"),
    *("<think> <answer>7</answer> </think>\n\\boxed{{{}}}", "<steps>\u200b</steps><final>{}</final>", "{} </answer>"),
    *("The answer is {}.", "**Answer:** ${}$", "<think> {}"),
]


def from_pieces(source: random.Random, longest: int = 8) -> str:
    return "".join(source.choices(PIECES, k=source.randint(0, longest)))


def mutated(source: random.Random, text: str) -> str:
    """A text with up to three changes: something put in, or a stretch left out, doubled, reversed or in other case."""
    for _ in range(source.randint(0, 3)):
        start = source.randint(0, len(text))
        stop = source.randint(start, min(len(text), start + 6))
        stretch = text[start:stop]
        new = source.choice([source.choice(PIECES), "", 2 * stretch, stretch[::-1], stretch.swapcase()])
        text = text[:start] + new + text[stop:]
    return text


def answer(source: random.Random, kind: str) -> str:
    """An answer or a whole response; half of them resemble answers of the kind."""
    share = source.random()
    sample = source.choice(SAMPLES[kind if share < 0.8 else source.choice(list(SAMPLES))])
    text = from_pieces(source) if share < 0.3 else mutated(source, sample)
    response = source.choice(WRAPPERS).format(text) if source.random() < 0.5 else text
    return mutated(source, response) if source.random() < 0.2 else response


def batches(kind: str, count: int) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Texts with the gold answer that they are compared with, CHUNK at a time."""
    for seed in range(-(-count // CHUNK)):
        source = random.Random(f"{kind} {seed}")
        gold, terms = source.choice(GOLDS[kind])
        yield gold, terms, [answer(source, kind) for _ in range(min(CHUNK, count - seed * CHUNK))]


class DeafPool:
    """In place of the algebra system: says of everything that it is not equal, and checks what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def ask_many(self, requests: Sequence[dict[str, Any]]) -> list[Reply]:
        self.asked += len(requests)
        for request in requests:
            assert json.loads(json.dumps(request)) == request
            assert request["task"] in ("equal", "equal_all", "equation")
        return [Reply("done", {"equal": False, "reason": "not asked"}) for _ in requests]


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> DeafPool:
    pool = DeafPool()
    monkeypatch.setattr(grader, "shared_pool", lambda: pool)
    return pool


def check(verdict: Verdict, kind: str, text: str) -> None:
    assert type(verdict.correct) is bool, text
    assert verdict.kind == kind, text
    assert type(verdict.score) is float, text
    assert 0.0 <= verdict.score <= 1.0, text
    assert kind == "box" or verdict.score == float(verdict.correct), text
    assert verdict.reason, text
    assert len(verdict.reason) < 50_000, text
    assert verdict.extracted is None or (verdict.extracted and verdict.extracted in text), text
    assert not (verdict.correct and verdict.extracted is None), text


@pytest.mark.parametrize("kind", GOLDS)
def test_any_text_gets_a_verdict(kind: str, deaf: DeafPool):
    plurals = {"choices": "choices", "precision": "precisions", "unit": "units"}
    for gold, terms, texts in batches(kind, TEXTS // len(GOLDS)):
        count = len(texts)
        columns = {plurals[name]: [value] * count for name, value in terms.items()}
        verdicts = grade_many(texts, [gold] * count, [kind] * count, **columns)
        for text, verdict in zip(texts, verdicts, strict=True):
            check(verdict, kind, text)
    assert (deaf.asked > 0) == (kind in ASK)


NUMBER = re.compile(
    r"(?:x ?= ?)?\+? ?(?P<digits>[0-9]+\.?[0-9]*|\.[0-9]+)(?:(?:e| 10 ?\^ ?)(?P<power>[+-]?[0-9]{1,3}))?"
    r" ?(?:(?:cm|kg|a|%|circ) ?)*"
)
"""What is left of a number where each sign without a meaning has become a space."""
MEANS_NOTHING = re.compile(r"\\(?:text|boxed|left|right|times|cdot|approx)(?![A-Za-z])|\\[,;:! ()\[\]]|[$*`'\"~{}\\]")


def test_nothing_is_accepted_as_fourteen_but_fourteen():
    accepted = set()
    for seed in range(TEXTS // 10 // CHUNK):
        source = random.Random(f"fourteen {seed}")
        texts = [
            mutated(source, mutated(source, source.choice(["14", "14.0", "1.4\\times 10^{1}"]))) for _ in range(CHUNK)
        ]
        verdicts = grade_many(texts, ["14"] * CHUNK, ["integer"] * CHUNK)
        accepted |= {verdict.extracted or "" for verdict in verdicts if verdict.correct}
    assert len(accepted) > 20
    for text in sorted(accepted):
        bare = " ".join(MEANS_NOTHING.sub(" ", text.lower()).split()).strip(".,;: \u200b\ufeff\u00ad\x00\x1b")
        number = NUMBER.fullmatch(bare)
        assert number, text
        assert Fraction(number["digits"]) * Fraction(10) ** int(number["power"] or 0) == 14, text


def test_any_text_is_taken_apart_by_every_format():
    source = random.Random("formats")
    for index in range(TEXTS // 20):
        text = answer(source, source.choice(list(SAMPLES)))
        stated = extract(text)
        assert stated is None or extract(stated) is None, text
        name = list(FORMATS)[index % len(FORMATS)]
        parts, share, place = parse(text, name), share_followed(text, name), answer_of(text, name)
        assert follows(text, name) == (parts is not None) == (share == 1.0), text
        assert parts is None or parts.answer == place, text
        assert 0.0 <= share <= 1.0, text
        check(grade(text, "7", "integer", strict=name), "integer", text)


def gold_or_none(gold: str, kind: str | None, options: dict[str, Any]) -> Gold | None:
    """What is read of a gold answer; None if it is a user error."""
    try:
        return read_gold(gold, kind, terms_of(**options))
    except UserError:
        return None


def test_any_gold_answer_is_a_user_error_or_right_where_it_is_the_answer(deaf: DeafPool):
    source, read = random.Random("golds"), 0
    for index in range(TEXTS // 10):
        kind = list(GOLDS)[index % len(GOLDS)]
        gold = from_pieces(source, 5) if source.random() < 0.3 else mutated(source, source.choice(SAMPLES[kind]))
        unit, choices = {"unit": from_pieces(source, 2)}, {"choices": ("1", "2", gold)}
        options = source.choice([{}, {}, unit, {"precision": 1}, choices])
        declared = source.choice([kind, None])
        understood = gold_or_none(gold, declared, options)
        if understood is None:
            continue
        read += 1
        response = f"<answer>{gold}</answer>"
        verdict = grade(response, gold, declared, **options)
        check(verdict, understood.name, response)
        says_more = any(mark in gold for mark in ("<", "#", "nswer", "\\boxed"))
        assert verdict.correct or says_more or verdict.reason == "not asked", (gold, verdict)
    assert read > TEXTS // 40


def test_any_text_is_read_as_mathematics_or_refused():
    source, read = random.Random("mathematics"), 0
    for _ in range(TEXTS):
        text = from_pieces(source) if source.random() < 0.3 else mutated(source, source.choice(SAMPLES["expression"]))
        latex = read_expression(text)
        if latex is not None:
            read += 1
            assert read_expression(latex) == latex, text
            assert latex.isascii(), text
    assert read > TEXTS // 20


def test_any_text_is_read_as_a_relation_a_matrix_a_number_and_a_unit_or_refused():
    source = random.Random("readers")
    for _ in range(TEXTS // 60):
        for kind in ("equation", "matrix", "fraction", "integer"):
            text = mutated(source, source.choice(SAMPLES[kind]))
            relation, rows, quantity, ratio = (
                read_relation(text),
                read_matrix(text),
                read_quantity(text),
                read_ratio(text),
            )
            assert relation is None or relation[1] in ("=", "<", ">", "\\le", "\\ge", "\\ne"), text
            assert rows is None or len({len(row) for row in rows}) == 1, text
            assert quantity is None or abs(quantity.value) >= 0, text
            assert ratio is None or any(ratio), text
            unit = read_unit(text)
            assert unit is None or unit.scale > 0, text


def test_what_the_workers_are_asked_never_ends_one():
    before = shared_pool().statistics
    golds, kinds, texts = [], [], []
    for kind in ASK:
        source = random.Random(f"workers {kind}")
        for _ in range(max(40, TEXTS // 2500)):
            golds, kinds = [*golds, source.choice(GOLDS[kind][:2])[0]], [*kinds, kind]
            texts.append(mutated(source, source.choice(SAMPLES[kind])))
    for verdict, kind, text in zip(grade_many(texts, golds, kinds), kinds, texts, strict=True):
        check(verdict, kind, text)
    after = shared_pool().statistics
    assert after.asked > before.asked
    assert after.crashed == before.crashed
