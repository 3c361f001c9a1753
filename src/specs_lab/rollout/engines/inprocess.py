"""Sampling in the training process: the engine whose weights cannot be stale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specs_lab.models.vlm import VLM
from specs_lab.rollout.engines.base import Question, RolloutEngine
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Completion, Sampling


class InProcessEngine(RolloutEngine):
    """See :func:`specs_lab.rollout.inprocess.generate`.

    Args:
        vlm: The policy.
        batch_size: Responses decoded side by side.
    """

    exact = True

    def __init__(self, vlm: VLM, batch_size: int) -> None:
        self._vlm, self._batch_size, self._version = vlm, batch_size, 0

    def generate(
        self, questions: Sequence[Question], keys: Sequence[Sequence[str]], sampling: Sampling
    ) -> list[list[Completion]]:
        """See the base class."""
        return generate(self._vlm, [q.prompt for q in questions], keys, sampling, batch_size=self._batch_size)

    def sync(self, vlm: VLM, version: int, probes: Sequence[Question]) -> Mapping[str, float]:
        """Nothing to do: it samples from the policy itself."""
        self._version = version
        return {}

    @property
    def version(self) -> int:
        """See the base class."""
        return self._version

    def close(self) -> None:
        """Nothing to do."""
