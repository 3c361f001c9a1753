"""A server and its weights: written, handed over, and handed over again to a server that has lost them."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from threading import Event

from specs_lab.core.chat import Line
from specs_lab.core.errors import Fault, UserError
from specs_lab.models.vlm import VLM
from specs_lab.rollout.engines.base import Site
from specs_lab.rollout.engines.client import ADAPTER, CALLED, MODEL, Client, Lost, Vocabulary
from specs_lab.rollout.engines.server import ServerProcess
from specs_lab.rollout.engines.weights import published, write_lora, write_model
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.options.vllm_colocated import VllmColocatedRollout

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What ``--max-lora-rank`` may be; an adapter may be smaller."""
_BETWEEN_S = 0.5
_LOOK_S = 10.0


class Handover:
    """Gives a server the weights of a policy.

    Weights go through folders, of which the newest stays: a server that was started again is given the weights that it
    had, whatever the trainer's have become since.

    Args:
        options: Settings.
        vlm: The policy.
        site: Where to work.

    Attributes:
        version: The number of the weights that were written last; -1: none were.

    Raises:
        UserError: If the adapter is larger than servers take.
    """

    def __init__(self, options: VllmRollout, vlm: VLM, site: Site) -> None:
        self._options = options
        self._temperature = site.sampling.temperature
        self._dtype = vlm.setup.dtype if options.dtype == "auto" else options.dtype
        self._rank = _lora_rank(vlm)
        self._words = Vocabulary(vlm.image_id, tuple(vlm.never_sampled), tuple(vlm.end_ids))
        self._folder = (Path(options.shared) if options.shared else site.folder).resolve() / "weights"
        self.log = site.logs / "vllm.log"
        self._own = (
            None if options.url else ServerProcess(options.python, self.log, port=options.port, start_s=options.start_s)
        )
        self._run = secrets.token_hex(4)  # weights of the same number are others in another run
        self.version = -1
        self._model: Path | None = None
        self._adapter: Path | None = None
        self._asleep = False

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self._options.url.rstrip("/") if self._own is None else self._own.url

    @property
    def tag(self) -> str:
        """The number of the weights, as the server is told it."""
        return f"{self._run}/{self.version}"

    @property
    def client(self) -> Client:
        """Talks to the server, wherever it is now."""
        return Client(self._line(self._options.timeout_s), self._words, ADAPTER if self._rank else MODEL)

    def _line(self, timeout_s: float) -> Line:
        # No retries: a request that fails may be the first to tell of a server that is gone.
        return Line(
            url=self.url,
            api_key_env="",
            timeout_s=timeout_s,
            retries=0,
            max_response_bytes=self._options.max_response_bytes,
            called=CALLED,
        )

    # -- weights -----------------------------------------------------------------------------------------------------

    def publish(self, vlm: VLM, version: int) -> None:
        """Writes the policy's weights: of one with an adapter the adapter, and once what lies below it."""
        old = self._adapter if self._rank else self._model
        name = f"{self._run}-{version}"
        if not self._rank or self._model is None:
            self._model = published(self._folder / f"model-{name}", lambda at: write_model(vlm, at, self._dtype))
        if self._rank:
            self._adapter = published(self._folder / f"adapter-{name}", lambda at: write_lora(vlm, at))
        self.version = version
        if old not in (None, self._model, self._adapter):
            shutil.rmtree(old, ignore_errors=True)

    def deliver(self) -> None:
        """Makes sure that a server is there, awake, and has the newest weights.

        Raises:
            Lost: If it goes away meanwhile.
            UserError: If it cannot be started, or refuses.
        """
        if self._model is None:
            raise RuntimeError("no weights have been written yet")
        if self._own is not None and not self._own.lives:
            self._own.start(self._arguments(self._model), lambda _: self._answers())
            self._asleep = False
            if self._adapter is None:
                self.client.number(self.tag)
                return
        if self._asleep:
            self.client.wake("weights")
        if self._adapter is None:
            self.client.load_model(self._model, self.tag)
        else:
            self.client.load_adapter(self._adapter, self.tag)
        if self._asleep:
            self.client.wake("kv_cache")
            self._asleep = False

    def bring_back(self, closed: Event) -> bool:
        """After a request was lost: waits for the server, or starts ours again; the weights are then the newest.

        Args:
            closed: Once set, there is no waiting.

        Returns:
            Whether weights had to be given again.

        Raises:
            Lost: If the server goes away meanwhile.
            UserError: If it cannot be started.
        """
        if self._own is None:
            self._wait(closed)
        elif not self._answers():
            self._own.end()
        alive = self._own is None or self._own.lives
        if alive and self.client.served() == self.tag and (self._adapter is None or self.client.knows(ADAPTER)):
            return False
        self.deliver()
        return True

    def _wait(self, closed: Event) -> None:
        until = time.monotonic() + self._options.start_s
        while not self._answers():
            if time.monotonic() > until or closed.is_set():
                raise Lost(f"nobody answers, for {self._options.start_s:g} s (rollout.start_s)")
            closed.wait(_BETWEEN_S)

    def _answers(self) -> bool:
        """Whether the server says that it is well."""
        return Client(self._line(_LOOK_S), self._words).is_well()

    def _arguments(self, model: Path) -> list[str]:
        options = self._options
        exact = self._temperature == 1
        arguments = ["--model", str(model), "--served-model-name", MODEL, "--generation-config", "vllm"]
        arguments += ["--enable-scale-out", "--dtype", self._dtype, "--no-enable-prefix-caching"]
        arguments += ["--logprobs-mode", "raw_logprobs" if exact else "processed_logprobs"]
        if self._rank:
            largest = next(rank for rank in _LORA_RANKS if rank >= self._rank)
            arguments += ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(largest)]
        if isinstance(options, VllmColocatedRollout):
            arguments += ["--enable-sleep-mode"]
        if options.memory_share:
            arguments += ["--gpu-memory-utilization", str(options.memory_share)]
        if options.max_length:
            arguments += ["--max-model-len", str(options.max_length)]
        return [*arguments, *options.args]

    # -- rest --------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Sends a server on the trainer's GPU to sleep, others not."""
        if isinstance(self._options, VllmColocatedRollout) and not self._asleep:
            self.client.sleep(self._options.sleep_level)
            self._asleep = True

    @property
    def asleep(self) -> bool:
        """Whether the server was sent to sleep."""
        return self._asleep

    def close(self) -> None:
        """Ends a server of our own, and removes the weights."""
        if self._own is not None:
            self._own.end()
        for folder in (self._model, self._adapter):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._model = self._adapter = None


def _lora_rank(vlm: VLM) -> int:
    """Of the policy's adapter; 0 without one."""
    if not vlm.has_adapter:
        return 0
    rank = max(config.r for config in vlm.model.peft_config.values())
    if rank > _LORA_RANKS[-1]:
        fix = f"give at most {_LORA_RANKS[-1]}, or choose rollout=inprocess"
        raise UserError([Fault("adapter.rank", f"vLLM takes no adapter of rank {rank}", fix)])
    return rank
