"""The referee: two processes, each with its own trainer loop, take steps in turn.

A machine's speed drifts; what is measured in turn drifts alike. Each side has a process of its own, so that its peak
memory is its own, and sleeps while the other works.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

ROOT = Path(__file__).resolve().parents[1]
_TAIL_LINES = 40


class SideDied(RuntimeError):
    """A side's process ended, or fell silent, when an answer was due."""


@dataclass(frozen=True)
class Step:
    """One step of one side.

    Attributes:
        seconds: Its time.
        parts: Times of named parts of it.
        tokens: Tokens that an unshared computation of it has.
    """

    seconds: float
    parts: dict[str, float] = field(default_factory=dict)
    tokens: int = 0


class Fighter(Protocol):
    """What the referee needs of a side."""

    def step(self) -> Step:
        """Takes one step."""
        ...


class Side:
    """A process that speaks the protocol of :mod:`benchmarks.protocol`.

    Args:
        name: What it is called in messages.
        command: Its command line.
        threads: CPU threads.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, name: str, command: Sequence[str], *, threads: int = 1, timeout_s: float = 1800) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.memory: dict[str, float] = {}

    @classmethod
    def module(cls, name: str, module: str, argument: str, *, threads: int = 1) -> Self:
        """A side that is a module of this package."""
        return cls(name, [sys.executable, "-m", module, argument], threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> dict[str, Any]:
        """Waits until training may begin; returns what the side says of itself."""
        facts = self._receive("ready")
        del facts["event"]
        return facts

    def step(self) -> Step:
        """One step."""
        self._say("go")
        answer = self._receive("step")
        return Step(answer["seconds"], answer["parts"], answer["tokens"])

    def stop(self) -> dict[str, float]:
        """Ends the side; returns its peak memory in MiB, and what it had when training began."""
        self._say("stop")
        answer = self._receive("bye")
        return {name: answer[name] for name in ("base_mb", "peak_mb")}

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died(f"has ended before '{word}'") from None

    def _receive(self, event: str) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        # Nothing is left in the buffer: a side sends one line and then waits.
        if not select.select([stdout], [], [], self._timeout_s)[0]:
            raise self._died(f"has not said '{event}' for {self._timeout_s:g} s")
        line = stdout.readline()
        if not line:
            raise self._died(f"has ended when '{event}' was due")
        answer = json.loads(line)
        if answer["event"] != event:
            raise self._died(f"says '{answer['event']}' where '{event}' was due")
        return answer

    def _died(self, what: str) -> SideDied:
        try:
            # One that has closed its pipes is about to end; one that is silent is not worth waiting for.
            code: int | str = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = "still running"
        self._log.seek(0)
        tail = "".join(self._log.readlines()[-_TAIL_LINES:])
        return SideDied(f"{self.name} {what} (exit code: {code}). The end of its standard error:\n{tail}")


def environment(threads: int) -> dict[str, str]:
    """Variables for a process: its threads, and nothing that would reach for the network."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def fight(
    sides: Sequence[Fighter], *, steps: int, warmup: int, on_round: Callable[[int], None] = lambda _: None
) -> list[list[Step]]:
    """Lets sides take steps in turn.

    Args:
        sides: At least one.
        steps: Counted steps of each side.
        warmup: Steps of each side before them.
        on_round: Told the number of each round before it begins.

    Returns:
        The counted steps of each side.

    Raises:
        ValueError: If two sides' steps differ in tokens, that is, if they did not do the same work.
    """
    counted: list[list[Step]] = [[] for _ in sides]
    for number in range(warmup + steps):
        on_round(number)
        # Who goes first changes, so that neither always finds the machine as the other has left it.
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        made = {index: sides[index].step() for index in order}
        taken = [made[index] for index in range(len(sides))]
        _check_equal_work(f"step {number}", taken)
        if number >= warmup:
            for steps_of_side, step in zip(counted, taken, strict=True):
                steps_of_side.append(step)
    return counted


def _check_equal_work(where: str, steps: Sequence[Step]) -> None:
    if len({step.tokens for step in steps}) > 1:
        raise ValueError(f"{where}: the sides had {', '.join(str(step.tokens) for step in steps)} tokens")


@dataclass
class Outcome:
    """What came of a side: its counted steps, peak memory, and what it said of itself."""

    steps: list[Step]
    memory: dict[str, float]
    facts: dict[str, Any]


def duel(
    openers: Sequence[Callable[[list[dict[str, Any]]], Side]],
    *,
    steps: int,
    warmup: int,
    together: bool = True,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Outcome]:
    """Starts sides, lets them fight, and ends them.

    Args:
        openers: Each starts a side, given what the sides before it said when they were ready.
        steps: Counted steps of each side.
        warmup: Steps of each side before them.
        together: Step by step in turn. Otherwise one side after the other, for when both do not fit into memory.
        on_round: Told the number of each round before it begins.
    """
    facts: list[dict[str, Any]] = []
    if not together:
        outcomes = []
        for opener in openers:
            with opener(facts) as side:
                facts.append(side.ready())
                (taken,) = fight([side], steps=steps, warmup=warmup, on_round=on_round)
                outcomes.append(Outcome(taken, side.stop(), facts[-1]))
        for number, taken_in_turn in enumerate(zip(*(outcome.steps for outcome in outcomes), strict=True)):
            _check_equal_work(f"counted step {number}", taken_in_turn)
        return outcomes
    with ExitStack() as stack:
        sides: list[Side] = []
        for opener in openers:  # one after the other: loading two models at once would only be slower
            sides.append(stack.enter_context(opener(facts)))
            facts.append(sides[-1].ready())
        counted = fight(sides, steps=steps, warmup=warmup, on_round=on_round)
        memory = [side.stop() for side in sides]
    return [Outcome(*values) for values in zip(counted, memory, facts, strict=True)]
