"""The contract of every problem family: reproducible, rendered the same everywhere, split without overlap."""

import hashlib
import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import FAMILIES, Draft, Family, Problem, Split, make_problem, split_of
from specs_lab.problems.canvas import SIZE, Canvas
from specs_lab.problems.styles import STYLES
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.base import KINDS

SPLITS: list[Split] = ["train", "id", "ood"]
every_family = pytest.mark.parametrize("family", FAMILIES.names())
every_style = pytest.mark.parametrize("style", STYLES)


def fingerprint(problem: Problem) -> str:
    """All of a problem, as one string."""
    said = (problem.id, problem.question, problem.answer, problem.answer_type, problem.reasoning, problem.cells)
    return hashlib.sha256(problem.image.tobytes() + repr(said).encode()).hexdigest()


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Draft]:
    """Makes a problem and returns the draft that it was made from."""

    def make(family: str, **where: Any) -> Draft:
        drafts: list[Draft] = []
        cls = FAMILIES.get(family)
        original = cls.draft

        def draft(self: Family, rng: random.Random) -> Draft:
            drafts.append(original(self, rng))
            return drafts[-1]

        with monkeypatch.context() as patch:
            patch.setattr(cls, "draft", draft)
            make_problem(family, **where)
        return drafts[-1]

    return make


class Narrow(random.Random):
    """Draws from a small corner of every range, so that near neighbours meet in a few hundred draws."""

    def choice(self, seq: Any) -> Any:
        return seq[super().randrange(min(len(seq), 3))]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return self.choice(range(start)) if stop is None else self.choice(range(start, stop, step))

    def randint(self, a: int, b: int) -> int:
        return self.randrange(a, b + 1)

    def sample(self, population: Any, k: int) -> list[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return list(population)[:k]


def test_there_are_at_least_ten_families_of_which_three_take_several_steps():
    assert len(FAMILIES) >= 10
    assert sum(FAMILIES.get(name).multi_step for name in FAMILIES) >= 3


@every_family
def test_a_problem_depends_on_its_name_only(family: str):
    indices = list(range(8))
    forwards = {i: fingerprint(make_problem(family, seed=1, index=i)) for i in indices}
    random.seed(0)
    np.random.seed(0)  # the global generators must not matter
    backwards = {i: fingerprint(make_problem(family, seed=1, index=i)) for i in reversed(indices)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(indices)
    assert fingerprint(make_problem(family, seed=2, index=0)) not in forwards.values()


def test_problems_are_the_same_in_fresh_processes():
    """Started by ``spawn``, so that nothing is inherited, string hashing included; two share the work."""
    wanted = [(f, s, i) for f in FAMILIES for s in ("plain", "newsprint") for i in range(2)]
    here = [make_problem(family, seed=4, index=index, style=style) for family, style, index in wanted]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(partial(make_problem, f, seed=4, index=i, style=s)) for f, s, i in wanted]
        there = [job.result() for job in jobs]
    assert [fingerprint(problem) for problem in there] == [fingerprint(problem) for problem in here]


@every_family
@every_style
def test_every_family_renders_in_every_style(family: str, style: str):
    image = make_problem(family, seed=6, index=0, style=style).image
    assert (image.size, image.mode) == ((SIZE, SIZE), "RGB")
    assert np.asarray(image).reshape(-1, 3).std(axis=0).max() > 5, "nothing is drawn"


@every_family
@pytest.mark.parametrize("split", SPLITS)
def test_a_style_changes_the_picture_but_not_the_content(family: str, split: Split):
    looks = [make_problem(family, seed=7, index=3, split=split, style=style) for style in STYLES]
    assert len({(p.question, p.answer, p.answer_type, p.reasoning, p.cells) for p in looks}) == 1
    assert len({p.image.tobytes() for p in looks}) == len(STYLES)


@every_family
def test_answers_are_of_the_declared_type(family: str):
    declared = FAMILIES.get(family).answer_type
    assert declared in KINDS
    answers = set()
    for index in range(40):
        problem = make_problem(family, seed=8, index=index)
        assert problem.answer_type == declared
        assert grade(problem.answer, problem.answer, declared).correct
        answers.add(problem.answer)
    assert len(answers) > 2, "guessing one answer would do"


@every_family
def test_no_key_falls_into_two_splits(family: str, accepted: Callable[..., Draft]):
    """For ``digits`` a key is a scan: no handwriting of the training split is ever seen in evaluation."""
    for split in SPLITS:
        for index in range(150):
            draft = accepted(family, seed=9, index=index, split=split)
            assert draft.keys
            assert {split_of(f"{family}:{key}") for key in draft.keys} == {split}


def test_digits_name_their_scans_as_keys(accepted: Callable[..., Draft]):
    for index in range(20):
        keys = accepted("digits", seed=9, index=index).keys
        assert len(keys) == 2
        assert all(key.startswith("scan ") and key.removeprefix("scan ").isdigit() for key in keys)


@every_family
@pytest.mark.parametrize("style", ["plain", "pastel_small"])
def test_no_picture_is_asked_the_same_question_in_two_splits(family: str, style: str):
    asked = {
        split: {
            (problem.image.tobytes(), problem.question)
            for problem in (make_problem(family, seed=10, index=i, split=split, style=style) for i in range(300))
        }
        for split in SPLITS
    }
    for first, second in (("train", "id"), ("train", "ood"), ("id", "ood")):
        assert not asked[first] & asked[second], f"{first} and {second} overlap"


@every_family
@pytest.mark.parametrize("style", ["plain", "pastel_small"])
def test_problems_with_different_keys_look_different(family: str, style: str):
    """Why splits by key are splits by picture: tried in a corner where problems differ as little as they can."""
    maker, rng, names = FAMILIES.get(family)(), Narrow(0), {}
    for _ in range(1500):
        draft = maker.draft(rng)
        canvas = Canvas(STYLES[style])
        draft.paint(canvas)
        seen = (canvas.finish(rng).tobytes(), draft.question)
        assert names.setdefault(seen, draft.keys) == draft.keys


@every_family
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_variety(family: str, split: Split):
    problems = [make_problem(family, seed=11, index=index, split=split) for index in range(60)]
    assert len({(problem.image.tobytes(), problem.question) for problem in problems}) >= 20
    assert len({problem.answer for problem in problems}) > 2


def test_split_shares_are_80_10_10():
    found = [split_of(f"key {index}") for index in range(20_000)]
    for split, share in (("train", 0.8), ("id", 0.1), ("ood", 0.1)):
        assert found.count(split) / len(found) == pytest.approx(share, abs=0.01)


def test_splits_draw_different_problems():
    assert len({fingerprint(make_problem("count", seed=0, index=0, split=split)) for split in SPLITS}) == 3


def test_the_id_names_the_problem():
    problem = make_problem("clock", seed=3, index=5, split="ood", style="newsprint")
    assert problem.id == "clock/ood/3/5/newsprint"


def test_an_unknown_family_is_a_user_error():
    with pytest.raises(UserError, match="did you mean 'count'"):
        make_problem("cuont", seed=0, index=0)


def test_a_family_without_content_in_a_split_says_so(monkeypatch: pytest.MonkeyPatch):
    stuck = make_draft_of(key=next(f"key {i}" for i in range(1000) if split_of(f"count:key {i}") == "train"))
    monkeypatch.setattr(FAMILIES.get("count"), "draft", lambda self, rng: stuck)
    assert make_problem("count", seed=0, index=0, split="train").answer == "1"
    with pytest.raises(RuntimeError, match="'count' has no content in split 'ood'"):
        make_problem("count", seed=0, index=0, split="ood")


def make_draft_of(key: str) -> Draft:
    return Draft("question?", "1", "total 1", (key,), ("empty",) * 16, lambda canvas: None)


def test_noise_is_part_of_the_style_and_reproducible():
    def finished(style: str, seed: int) -> np.ndarray:
        return np.asarray(Canvas(STYLES[style]).finish(python_rng(seed)), dtype=float)

    assert (finished("newsprint", 1) == finished("newsprint", 1)).all()
    assert (finished("newsprint", 1) != finished("newsprint", 2)).any()
    noise = finished("newsprint", 1)[..., 2] - STYLES["newsprint"].background[2]  # the channel that clips least
    assert noise.std() == pytest.approx(STYLES["newsprint"].noise, rel=0.1)
    assert len(np.unique(finished("plain", 1))) == 1
