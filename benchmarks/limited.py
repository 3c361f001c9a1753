"""math-verify in a process of its own, which is ended when it does not answer in time.

Its own limits are alarms, and those do not interrupt one long multiplication of integers: a tower of powers would hold
up the benchmark for good, or fill the memory.
"""

from __future__ import annotations

import multiprocessing
import resource
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

Question = tuple[str, str, bool]
"""Gold, prediction, and whether letters of options are looked for as well."""

_MEMORY = 4 * 2**30
_START_S = 120


def check(gold: str, prediction: str, letters: bool) -> bool:
    """math-verify, called as its README does it."""
    from math_verify import (
        ExprExtractionConfig,
        LatexExtractionConfig,
        StringExtractionConfig,
        parse,
        verify,
    )

    if not letters:
        return verify(parse(gold), parse(prediction))
    configs = [LatexExtractionConfig(), ExprExtractionConfig(), StringExtractionConfig()]
    return verify(parse(gold, extraction_config=configs), parse(prediction, extraction_config=configs))


def serve(connection: Connection) -> None:
    """Answers questions until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    check("1", "1", False)
    connection.send(True)
    while (question := connection.recv()) is not None:
        connection.send(check(*question))


class Limited:
    """A process that answers one question at a time; a new one takes its place when it is too slow or dies.

    Args:
        limit: Seconds for an answer.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(_START_S):
            self._end()
            raise RuntimeError(f"math-verify has not started within {_START_S} s")
        self._connection.recv()

    def ask(self, question: Question) -> bool | None:
        """The answer; None if there was none in time."""
        try:
            self._connection.send(question)
            if self._connection.poll(self._limit):
                return self._connection.recv()
        except (EOFError, ConnectionError):
            pass  # it has died, out of memory for one
        self._end()
        self._start()
        return None

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
