import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.duel import Side, SideDied, Step, duel, fight

CHILD = """
import sys
from benchmarks.protocol import Turns, take_stdout
turns = Turns(take_stdout())
print("what a library prints")
taken = 0
going_on = turns.ready(name={name!r})
while going_on:
    taken += 1
    with turns.part("work"):
        if taken == {dies_at}:
            print("the reason", file=sys.stderr)
            sys.exit(3)
    going_on = turns.step_done(lambda: 10 * taken)
"""


def child(name: str = "a", *, dies_at: int = -1, timeout_s: float = 30) -> Side:
    code = CHILD.format(name=name, dies_at=dies_at)
    return Side(name, [sys.executable, "-c", code], timeout_s=timeout_s)


class Dummy:
    def __init__(self, name: str, diary: list[str], tokens: int = 7) -> None:
        self.name, self.diary, self.tokens = name, diary, tokens
        self.taken = 0

    def step(self) -> Step:
        self.taken += 1
        self.diary.append(f"{self.name}{self.taken}")
        return Step(float(self.taken), tokens=self.tokens)


def test_sides_alternate_strictly():
    diary: list[str] = []
    fight([Dummy("a", diary), Dummy("b", diary)], steps=2, warmup=1)
    assert diary == ["a1", "b1", "b2", "a2", "a3", "b3"]  # and who goes first changes


def test_warmup_is_not_counted():
    counted = fight([Dummy("a", []), Dummy("b", [])], steps=3, warmup=2)
    assert [[step.seconds for step in steps] for steps in counted] == [[3.0, 4.0, 5.0]] * 2


def test_rounds_are_announced():
    rounds: list[int] = []
    fight([Dummy("a", [])], steps=2, warmup=1, on_round=rounds.append)
    assert rounds == [0, 1, 2]


def test_sides_that_do_different_work_are_not_compared():
    with pytest.raises(ValueError, match=r"step 0: the sides had 7, 8 tokens"):
        fight([Dummy("a", []), Dummy("b", [], tokens=8)], steps=1, warmup=0)


@pytest.mark.parametrize("together", [True, False])
def test_two_processes_take_their_steps_and_are_told_what_the_first_one_said(together):
    heard: list[list[dict[str, Any]]] = []

    def opener(name: str) -> Callable[[list[dict[str, Any]]], Side]:
        def opened(before: list[dict[str, Any]]) -> Side:
            heard.append(list(before))
            return child(name)

        return opened

    outcomes = duel([opener("a"), opener("b")], steps=2, warmup=1, together=together)
    assert heard == [[], [{"name": "a"}]]
    assert [outcome.facts for outcome in outcomes] == [{"name": "a"}, {"name": "b"}]
    for outcome in outcomes:
        assert [step.tokens for step in outcome.steps] == [20, 30]
        assert all(0 <= step.parts["work"] <= step.seconds for step in outcome.steps)
        assert outcome.memory["peak_mb"] >= outcome.memory["base_mb"] > 1


def test_a_child_that_dies_is_reported_with_its_reason():
    with child(dies_at=2) as side:
        side.ready()
        side.step()
        with pytest.raises(SideDied, match=r"(?s)a has ended.*exit code: 3.*the reason"):
            side.step()


def test_a_child_that_dies_at_once_is_reported():
    command = [sys.executable, "-c", "raise RuntimeError('no such model')"]
    with Side("b", command) as side, pytest.raises(SideDied, match=r"(?s)'ready' was due.*no such model"):
        side.ready()


def test_a_dead_child_that_is_told_to_go_is_reported():
    with Side("b", [sys.executable, "-c", ""]) as side:
        side._process.wait()
        with pytest.raises(SideDied, match="b has ended"):
            side.step()


def test_a_child_that_falls_silent_is_reported():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with Side("b", command, timeout_s=0.2) as side, pytest.raises(SideDied, match=r"has not said 'ready' for 0\.2 s"):
        side.ready()
