"""What samples the responses that RL learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.rollout.sampling import Completion, Sampling


@dataclass(frozen=True)
class Question:
    """A prompt, and its pictures as a server would be sent them.

    Attributes:
        prompt: The prompt as the trainer's model reads it.
        images: Its pictures, in order.
    """

    prompt: Prompt
    images: tuple[Image.Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an engine works, and for whom.

    Attributes:
        folder: A folder of this training alone, for weights that are handed over.
        logs: Where a server's log goes.
        sampling: How responses are drawn, throughout.
        batch_size: Responses decoded side by side in this process.
        devices: Processes that train together.
    """

    folder: Path
    logs: Path
    sampling: Sampling
    batch_size: int = 128
    devices: int = 1


class RolloutEngine(ABC):
    """Samples responses; used as a context manager, or closed by hand.

    Attributes:
        exact: Whether the log-probabilities that it reports are those of the trainer's own weights and arithmetic;
            nothing is to be corrected then.
        importance_cap: Largest weight of a token that corrects for the difference; 0: it is not corrected.
        ahead: Batches that are asked for in advance, while the weights still learn.
    """

    exact: bool = False
    importance_cap: float = 0.0
    ahead: int = 0

    @abstractmethod
    def generate(
        self, questions: Sequence[Question], keys: Sequence[Sequence[str]], sampling: Sampling
    ) -> list[list[Completion]]:
        """Samples responses.

        Args:
            questions: P prompts with their pictures.
            keys: For each prompt, one name per response wanted; it fixes the response's random numbers.
            sampling: How to draw.

        Returns:
            For each prompt its responses, in the order of its keys, with log-probabilities of the model's whole
            distribution at the temperature.

        Raises:
            UserError: If the engine cannot be asked, or answers something else.
        """

    @abstractmethod
    def sync(self, vlm: VLM, version: int, probes: Sequence[Question]) -> Mapping[str, float]:
        """Makes the engine sample from the weights of ``vlm``, and checks that it does.

        Args:
            vlm: The policy.
            version: Its number: steps done.
            probes: Prompts for the check; an engine needs few, and keeps those that it was given first.

        Returns:
            Metrics to log.

        Raises:
            UserError: If it does not sample from these weights.
        """

    @property
    @abstractmethod
    def version(self) -> int:
        """The number of the weights that are sampled from now."""

    def rest(self) -> None:  # noqa: B027 # most engines need no rest
        """Gives back what the training of the next moments needs, such as memory of a GPU; undone by :meth:`sync`."""

    @abstractmethod
    def close(self) -> None:
        """Ends the engine and all that it started; further calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
