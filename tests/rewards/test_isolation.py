"""Grading from where signals are no help: threads, data loaders, ranks; and answers that hang the algebra system."""

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from textwrap import dedent
from threading import Barrier, Thread

import pytest

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import Verdict, grade, grade_many
from specs_lab.rewards.isolation.workers import shared_pool

HANG_S = 240.0
"""No single thing in these tests takes this long unless it hangs."""

Item = tuple[str, str, str | None]

CHEAP: list[Item] = [
    *((text, "7", "integer") for text in ("7", "8", "seven", "7 or 8", "<think> a </think> <answer> 7 </answer>")),
    *((text, "cat", "word") for text in ("The cat", "act", "c\u200bat")),
    *((text, "B", "choice") for text in ("(B)", "A", "B. 5", "A B C D")),
    *((text, "yes", "boolean") for text in ("True", "no")),
    *((text, "5 cm", None) for text in ("50 mm", "5 kg", "\\frac{5}{1}")),
    *((text, "3:4", None) for text in ("6:8", "4:3")),
    *((text, "1, 2", None) for text in ("[1, 2]", "2, 1")),
    *((text, "\\{1, 2\\}", None) for text in ("{2, 1}", "{1}")),
    *((text, "[1, 3)", None) for text in ("1 \\le x < 3", "[1, 3]")),
    *((text, "[10, 10, 50, 50]", "box") for text in ("[12, 12, 52, 52]", "[60, 60, 90, 90]")),
    *((text, "(3, 4)", "point") for text in ("(3.0, 4)", "(4, 3)")),
    ("9^{9^{9^{9}}}", "2x+2", "expression"),
]
ASKED: list[Item] = [
    *((text, "2x+2", "expression") for text in ("2(x+1)", "2*(x+1)", "x+2", "\\frac{4x+4}{2}", "2X+2")),
    *((text, "\\sqrt{8}", "expression") for text in ("2\\sqrt{2}", "2.828427", "sqrt(8)+0")),
    *((text, "y=2x+1", "equation") for text in ("2y=4x+2", "y=2x+2")),
    *((text, "[[1, x]]", "matrix") for text in ("[[1, x+0]]", "[[x, 1]]")),
    *((text, "{x, \\sqrt{2}}", "set") for text in ("{\\frac{2}{\\sqrt{2}}, x}", "{x, 2}")),
    ("x > \\sqrt{2}", "x > \\frac{2}{\\sqrt{2}}", "interval"),
]
TERMS = "+".join(f"\\frac{{\\sin({letter})}}{{{letter}+\\cos({letter})}}" for letter in "abcdfgh")
HANGS = f"\\binom{{x}}{{i}}+{TERMS}"
"""Short and harmless to look at, but neither its values at points nor its simplification end in minutes."""


def mixture(count: int, asked: int) -> list[Item]:
    """So many items of all kinds, so many of which a worker has to compare."""
    source = random.Random(0)
    items = source.choices(CHEAP, k=count - asked) + source.choices(ASKED, k=asked)
    source.shuffle(items)
    return items


def test_threads_get_the_verdicts_that_one_gets():
    items = mixture(10_000, asked=250)
    alone = [grade(*item) for item in items]
    assert {verdict.correct for verdict in alone} == {True, False}
    together = Barrier(8)

    def every_eighth(first: int) -> list[Verdict]:
        together.wait(HANG_S)
        return [grade(*item) for item in items[first::8]]

    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(every_eighth, range(8)))
    assert [parts[index % 8][index // 8] for index in range(len(items))] == alone


def test_threads_that_grade_batches_get_the_verdicts_that_one_gets():
    items = mixture(600, asked=60)
    columns = [[item[column] for item in items] for column in range(3)]
    alone = grade_many(*columns)
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda _: grade_many(*columns), range(8)))
    assert all(part == alone for part in parts)


SCRIPT = f"""
    import json, sys
    from specs_lab.rewards.grader import grade

    ITEMS = {CHEAP + ASKED!r}

    def verdict(index):
        found = grade(*ITEMS[index])
        return [found.correct, found.kind, found.extracted, found.reason, found.score]
"""


def start(folder: Path, rest: str, **variables: str) -> subprocess.Popen[str]:
    """Starts a script in a process of its own."""
    file = folder / f"script{variables.get('RANK', '')}.py"
    file.write_text(dedent(SCRIPT) + dedent(rest))
    pipe, environment = subprocess.PIPE, {**os.environ, **variables}
    return subprocess.Popen(
        [sys.executable, str(file)], stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment
    )


def printed(process: subprocess.Popen[str]) -> list:
    """What it printed last, as JSON."""
    try:
        out, errors = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def expected() -> list:
    found = [grade(*item) for item in CHEAP + ASKED]
    return [[one.correct, one.kind, one.extracted, one.reason, one.score] for one in found]


def test_data_loaders_workers_grade_whether_forked_or_spawned(tmp_path: Path):
    script = """
    import torch

    class Graded(torch.utils.data.Dataset):
        def __len__(self):
            return len(ITEMS)

        def __getitem__(self, index):
            return verdict(index)

    if __name__ == "__main__":
        here = [verdict(index) for index in range(len(ITEMS))]  # so that there are workers when it forks
        for method, workers in (("fork", 2), ("spawn", 1)):
            loader = torch.utils.data.DataLoader(
                Graded(), batch_size=4, num_workers=workers, multiprocessing_context=method, collate_fn=list
            )
            assert [one for batch in loader for one in batch] == here, method
        print(json.dumps(here))
    """
    assert printed(start(tmp_path, script)) == expected()


def test_ranks_of_distributed_training_grade_at_once(tmp_path: Path):
    script = "\n    print(json.dumps([verdict(index) for index in range(len(ITEMS))]))"
    ranks = [start(tmp_path, dedent(script), RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    assert [printed(rank) for rank in ranks] == [expected()] * 2


COSTLY = [
    *("9^9^9^9^9", "9^{9^{9^{9}}}", "9**9**9**9", "((((9!)!)!)!)", "(9^{9})!", "2^{2^{2^{2^{2^{2}}}}}", "10^{10^{10}}"),
    *(
        "\\int_0^1 x^{x^x} dx",
        "\\sum_{k=1}^{10^9} k^k",
        "\\prod_{k=1}^{999999} k",
        "\\lim_{x \\to 0} \\frac{\\sin x}{x}",
    ),
    *("\\binom{10^9}{10^8}", "\\sqrt[999999999]{2}", "x^{x^{x^{x^{x^{x}}}}}", "\\sin(\\sin(\\sin(10^{999})))"),
    *("e^{e^{e^{e^{9}}}}", "(x+y+z)^{1000}", "((x^{1000})^{1000})^{1000}", "0.1" + "+0.1" * 70, "1e999999999"),
    *(
        "(" * 25 + "x" + ")" * 24 + "+1)",
        "\\log_{1}(x)",
        "0^{0}",
        "\\frac{x}{x-x}",
        "\\tan(\\frac{\\pi}{2})",
        "\\infty - \\infty",
    ),
    HANGS,
]


@pytest.mark.parametrize("answer", COSTLY)
def test_what_could_hang_is_wrong_in_time_and_the_next_answer_is_not_affected(answer: str):
    verdicts: SimpleQueue[Verdict] = SimpleQueue()

    def grade_both() -> None:
        for text in (answer, "2(x+1)"):
            verdicts.put(grade(text, "2x+2", "expression"))

    Thread(target=grade_both, daemon=True).start()
    assert not verdicts.get(timeout=HANG_S).correct
    assert verdicts.get(timeout=HANG_S).correct


def test_an_answer_that_hangs_the_algebra_system_is_given_up_without_harm_to_its_batch():
    before = shared_pool().statistics
    answers = ["2(x+1)", HANGS, "x+2", f"{HANGS}+1", "2*x+2"]
    verdicts = grade_many(answers, ["2x+2"] * 5, ["expression"] * 5)
    assert [verdict.correct for verdict in verdicts] == [True, False, False, False, True]
    assert [verdict.stopped for verdict in verdicts] == [False, True, False, True, False]
    assert "stopped" in verdicts[1].reason
    after = shared_pool().statistics
    assert (after.timed_out - before.timed_out, after.crashed - before.crashed) == (2, 0)


def test_a_gold_answer_that_hangs_the_algebra_system_rewards_nothing():
    verdict = grade("x", HANGS, "expression")
    assert (verdict.correct, verdict.stopped, verdict.score) == (False, True, 0.0)


@pytest.mark.parametrize(
    ("gold", "kind", "answer"),
    [
        ("\\sqrt{", "expression", "x"),
        ("9^{9^{9^{9}}}", "expression", "x"),
        ("1/0", "expression", "x"),
        ("0^0", "expression", "1"),
        ("", "expression", "x"),
        ("cat", "expression", "cat"),
        ("y = ", "equation", "y=x"),
        ("y = 1/0", "equation", "y=x"),
        ("y = x = 2", "equation", "y=x"),
        ("[[1, 2], [3]]", "matrix", "[[1]]"),
        ("[[1/0]]", "matrix", "[[x]]"),
        ("{x, 1/0}", "set", "{x, \\sqrt{2}}"),
        ("x, 1/0", "list", "x, \\sqrt{2}"),
        ("[\\frac{1}{0}, 2)", "interval", "[\\sqrt{2}, 2)"),
        ("[3, 1]", "interval", "[1, 3]"),
        ("7.5", "integer", "7.5"),
        ("red", "number", "red"),
        ("1/0", "fraction", "1"),
        ("maybe", "boolean", "yes"),
        ("[5, 5, 1, 1]", "box", "[1, 1, 5, 5]"),
        ("F", "choice", "F"),
    ],
)
def test_a_gold_answer_that_cannot_be_read_is_a_user_error_and_never_a_verdict(gold: str, kind: str, answer: str):
    choices = ("3", "5") if kind == "choice" else None
    with pytest.raises(UserError, match="gold answer"):
        grade(answer, gold, kind, choices=choices)
    with pytest.raises(UserError, match="gold answer"):
        grade_many(["2(x+1)", answer], ["2x+2", gold], ["expression", kind], choices=[None, choices])
    assert grade("2(x+1)", "2x+2", "expression").correct
