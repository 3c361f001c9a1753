"""The next batch's responses, asked for while this batch's update runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any

from specs_lab.rollout.engines.base import Question, RolloutEngine
from specs_lab.rollout.sampling import Completion, Sampling

Made = list[list[Completion]]


@dataclass(frozen=True)
class _Pending:
    step: int
    version: int
    made: Future[Made]


class Ahead:
    """Asks an engine for one batch in advance; at most one is under way.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine
        self._pool: ThreadPoolExecutor | None = None
        self._pending: _Pending | None = None

    def ask(self, step: int, questions: Sequence[Question], keys: Sequence[Sequence[str]], sampling: Sampling) -> None:
        """Begins a step's batch, by the weights that the engine has now."""
        self._pool = self._pool or ThreadPoolExecutor(1, "ahead")
        made = self._pool.submit(self._engine.generate, questions, keys, sampling)
        self._pending = _Pending(step, self._engine.version, made)

    def take(self, step: int) -> tuple[Made, int] | None:
        """The responses for a step and the number of the weights that made them; None if they were not asked for.

        Raises:
            UserError: If they could not be made.
            RuntimeError: If they are for another step.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return None
        if pending.step != step:
            raise RuntimeError(f"the responses that were asked for ahead are for step {pending.step}, not {step}")
        return pending.made.result(), pending.version

    def wait(self) -> None:
        """Until nothing is under way: weights that are being sampled from must not change."""
        if self._pending is not None:
            self._pending.made.result()

    def state(self) -> dict[str, Any] | None:
        """What is pending, once it is finished, as plain values."""
        if self._pending is None:
            return None
        made = [[list(astuple(one)) for one in group] for group in self._pending.made.result()]
        return {"step": self._pending.step, "version": self._pending.version, "made": made}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Restores what :meth:`state` returned."""
        self._pending = None
        if state is not None:
            made: Future[Made] = Future()
            made.set_result(
                [
                    [Completion(tuple(ids), tuple(logprobs), truncated) for ids, logprobs, truncated in group]
                    for group in state["made"]
                ]
            )
            self._pending = _Pending(state["step"], state["version"], made)

    def close(self) -> None:
        """Waits for what is under way; the engine is closed before, so that it does not take long."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
