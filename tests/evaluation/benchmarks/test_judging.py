"""A judge is asked once for many responses; intervals of metrics; items that are stored."""

import math
from dataclasses import replace

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import Benchmark, Item, accuracy_parts
from specs_lab.evaluation.benchmarks.intervals import estimates
from specs_lab.evaluation.benchmarks.judging import score_all
from specs_lab.evaluation.benchmarks.storing import item_json, item_of
from specs_lab.evaluation.judges.overlap import OverlapJudge
from specs_lab.evaluation.suites.benchmark import BenchmarkSuite
from specs_lab.problems.rows import ProblemRow
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.rewards.grader import Verdict


class ByWord(Benchmark):
    """Right if equal, else what the judge says; accuracy by family, as a mean over rows."""

    name = "by_word"

    def read(self, row):
        return Item(row=ProblemRow(id=row["id"], question="?", answer=row["answer"], family=row["family"]))

    def ask(self, item):
        return item.row.question

    def score(self, item, response, judge):
        from specs_lab.rewards.judge import Judged

        right = response == item.row.answer
        if judge is None or right:
            return Verdict(right, "word", response, "", float(right))
        (value,) = judge([Judged(response, item.row.answer)])
        return Verdict(value >= judge.threshold, "open", response, "judged", value)

    def parts(self, scored):
        return accuracy_parts(scored, lambda item: [f"family/{item.row.family}"], self.unit)

    def summary(self, scored):
        return {**super().summary(scored), "worth": 0.5}


class ByFamily(ByWord):
    """The same where rows of a family are versions of one problem."""

    def unit(self, item):
        return item.row.family


class Counting:
    """A judge that counts how often it is asked, and for what."""

    threshold = 0.5

    def __init__(self):
        self.rounds = []

    def __call__(self, answers):
        self.rounds.append(list(answers))
        return [float(answer.answer.startswith("a")) for answer in answers]


def items(count):
    return [ByWord().read({"id": str(i), "answer": "yes", "family": "xy"[i % 2]}) for i in range(count)]


def test_a_judge_is_asked_once_and_about_each_answer_once():
    judge = Counting()
    responses = ["yes", "aye", "no", "aye", "yes"]
    verdicts = score_all(ByWord(), items(5), responses, judge)
    assert [verdict.correct for verdict in verdicts] == [True, True, False, True, True]
    assert [[one.answer for one in some] for some in judge.rounds] == [["aye", "no"]]
    assert verdicts == [ByWord().score(item, r, Counting()) for item, r in zip(items(5), responses, strict=True)]


def test_nobody_is_asked_if_the_rules_suffice():
    judge = Counting()
    score_all(ByWord(), items(2), ["yes", "yes"], judge)
    assert judge.rounds == []
    assert [one.correct for one in score_all(ByWord(), items(2), ["yes", "aye"], None)] == [True, False]


def test_a_suite_hands_its_judge_to_the_benchmark(make_suite, benchmark_rows):
    text = benchmark_rows["mathvista"](7, answer="a big whale", answer_type="text", query="")
    suite = make_suite("mathvista", [text], with_id=False)
    problems = ProceduralProblems(families=["count"], ood_families=["clock"], instructions=["tags"], styles=["plain"])
    tasks = suite.tasks(problems)
    said = ["<answer> the whale, big </answer>"]
    assert not suite.score(said, tasks, None)[0].accuracy
    assert suite.score(said, tasks, OverlapJudge().make())[0].accuracy


def test_intervals_of_means_over_rows():
    scored = [(item, Verdict(i % 3 == 0, "word", "", "")) for i, item in enumerate(items(60))]
    found = estimates(ByWord(), scored, resamples=400)
    assert set(found) == {"accuracy", "family/x", "family/y", "worth"}
    assert found["accuracy"] == {
        "value": pytest.approx(1 / 3),
        "n": 60,
        "low": found["accuracy"]["low"],
        "high": found["accuracy"]["high"],
    }
    half = math.sqrt(1 / 3 * 2 / 3 / 60) * 1.96
    assert found["accuracy"]["high"] - found["accuracy"]["low"] == pytest.approx(2 * half, rel=0.2)
    assert found["family/x"]["n"] == 30
    assert found["worth"] == {"value": 0.5, "n": 60, "low": None, "high": None}
    assert estimates(ByWord(), [], resamples=10) == {}
    assert found == estimates(ByWord(), scored, resamples=400)


def test_rows_that_stand_or_fall_together_count_as_one_for_an_interval():
    def width(benchmark: Benchmark) -> float:
        row = ProblemRow(id="1", question="?", answer="yes")
        scored = [
            (
                Item(row=replace(row, id=f"{f}/{i}", family=str(f))),
                Verdict(f % 2 == 0, "word", "", "", float(f % 2 == 0)),
            )
            for f in range(40)
            for i in range(5)
        ]
        found = estimates(benchmark, scored, resamples=400)["accuracy"]
        assert (found["value"], found["n"]) == (0.5, 200)
        return found["high"] - found["low"]

    assert width(ByFamily()) == pytest.approx(math.sqrt(5) * width(ByWord()), rel=0.2)


@pytest.mark.parametrize(("right", "low", "high"), [(True, 0.025 ** (1 / 3), 1.0), (False, 0.0, 1 - 0.025 ** (1 / 3))])
def test_three_rows_of_one_verdict_are_no_certainty(right: bool, low: float, high: float):
    scored = [(item, Verdict(right, "word", "", "", float(right))) for item in items(3)]
    found = estimates(ByWord(), scored)["accuracy"]
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_stored_item_has_places_for_the_pictures_that_its_question_names():
    row = ProblemRow(
        id="1", question=f"{IMAGE_MARKER} or {IMAGE_MARKER}?", answer="1", images=(b"x", b"y"), precision=2.0
    )
    again = item_of(item_json(Item(row=row, extra={"k": [1, {"a": None}]})))
    assert again.row.images == (None, None)
    assert again.row.precision == 2.0
    assert again.extra == {"k": [1, {"a": None}]}
    with pytest.raises(ValueError, match="no item"):
        item_of('{"row": {}}')


def test_a_commit_is_taken_as_it_is_and_a_branch_needs_the_hub():
    commit = "0123456789abcdef0123456789abcdef01234567"
    pinned = BenchmarkSuite(benchmark="mathvista", repo="AI4Math/MathVista", revision=commit)
    assert pinned.identity() == {"commit": commit}
    with pytest.raises(UserError, match="AI4Math/MathVista"):  # tests are offline
        BenchmarkSuite(benchmark="mathvista", repo="AI4Math/MathVista").identity()
    assert pinned.own_cells == ("mathvista",)
