"""Sampling by a server: its weights kept up with the trainer's and checked, its failures repaired."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, RLock

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.rollout.engines.base import Question, RolloutEngine, Site
from specs_lab.rollout.engines.client import CALLED, Lost, Request
from specs_lab.rollout.engines.handover import Handover
from specs_lab.rollout.engines.parity import Parity, Record
from specs_lab.rollout.engines.pictures import as_seen, data_url
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.sampling import Completion, Sampling

_PROBE_TOKENS = 64
"""Longest response to a probe."""


class ServedEngine(RolloutEngine):
    """A vLLM server: one of our own, started at the first :meth:`sync`, or one that runs.

    Calls are worked on one at a time, whichever threads they come from.

    Args:
        options: Settings.
        vlm: The policy.
        site: Where to work.

    Raises:
        UserError: If the adapter is larger than servers take.
    """

    def __init__(self, options: VllmRollout, vlm: VLM, site: Site) -> None:
        self.importance_cap, self.ahead = options.importance_cap, options.ahead
        self._options = options
        self._pictures = vlm.processor.image_processor
        self._server = Handover(options, vlm, site)
        self._probe_sampling = replace(site.sampling, max_new_tokens=min(site.sampling.max_new_tokens, _PROBE_TOKENS))
        self._probes: list[Request] = []
        self._prompts: list[Prompt] = []
        self._record: Record | None = None
        self._closed = Event()
        self._lock = RLock()

    @property
    def version(self) -> int:
        """See the base class."""
        return self._server.version

    # -- sampling ----------------------------------------------------------------------------------------------------

    def generate(
        self, questions: Sequence[Question], keys: Sequence[Sequence[str]], sampling: Sampling
    ) -> list[list[Completion]]:
        """See the base class. What a server that failed had answered stays; the rest is asked again, under its key.

        Raises:
            UserError: As the base class; or if the server fails more often in a row than ``restarts`` allows.
            ValueError: If keys are not all different, or for a nucleus at another temperature than 1, whose
                log-probabilities would not be those of the whole distribution.
        """
        names = [name for line in keys for name in line]
        if len(set(names)) != len(names):
            raise ValueError("every response needs a key of its own")
        if sampling.top_p < 1 and sampling.temperature != 1:
            raise ValueError("a server's log-probabilities are those of the nucleus unless the temperature is 1")
        with self._lock:
            done = self._answered(self._requests(questions, keys, sampling))
        return [[done[name] for name in line] for line in keys]

    def _requests(
        self, questions: Sequence[Question], keys: Sequence[Sequence[str]], sampling: Sampling
    ) -> list[Request]:
        made: list[Request] = []
        for question, line in zip(questions, keys, strict=True):
            seen = as_seen(self._pictures, question.prompt, question.images)
            ids, urls = tuple(question.prompt.token_ids.tolist()), tuple(data_url(image) for image in seen)
            made += [Request(key=key, prompt_ids=ids, urls=urls, sampling=sampling) for key in line]
        return made

    def _answered(self, requests: Sequence[Request]) -> dict[str, Completion]:
        """The responses by key, however often the server has to be brought back."""
        done: dict[str, Completion] = {}
        loss = self._ask(requests, done)
        failures = 0
        while loss is not None:
            failures += 1
            if failures > self._options.restarts or self._closed.is_set():
                raise self._gave_up(loss, f"{len(done)} of {len(requests)} responses are there")
            before = len(done)
            try:
                if self._server.bring_back(self._closed):
                    self._check_again()
                loss = self._ask(requests, done)
            except Lost as another:
                loss = another
            if len(done) > before:
                failures = 0
        return done

    def _ask(self, requests: Sequence[Request], done: dict[str, Completion]) -> Lost | None:
        """Asks for all responses that are missing, many at a time; returns why some still are."""
        client, weights, stop = self._server.client, self._server.tag, Event()
        losses: list[Lost] = []

        def one(request: Request) -> None:
            if stop.is_set() or self._closed.is_set():
                return
            try:
                done[request.key] = client.generate(request, weights, Event())
            except Lost as loss:
                losses.append(loss)
                stop.set()
            except BaseException:
                stop.set()
                raise

        missing = [request for request in requests if request.key not in done]
        with ThreadPoolExecutor(max(1, min(self._options.max_concurrent, len(missing))), "rollouts") as pool:
            for future in [pool.submit(one, request) for request in missing]:
                future.result()
        if not losses and len(done) < len(requests):
            losses.append(Lost("the engine was closed"))
        return losses[0] if losses else None

    def _gave_up(self, loss: Lost, standing: str) -> UserError:
        what = f"{standing}, and the server fails again and again: {loss}"
        fix = f"see the server's log ({self._server.log}, if it is ours); rollout.restarts allows for more failures"
        return UserError([Fault(f"{CALLED} at {self._server.url}", what, fix)])

    # -- weights -----------------------------------------------------------------------------------------------------

    def sync(self, vlm: VLM, version: int, probes: Sequence[Question]) -> Mapping[str, float]:
        """See the base class; new weights are handed over once ``sync_every`` versions have passed.

        Returns:
            ``rollout/parity`` and ``rollout/parity_mean``, the largest and the mean difference of log-probabilities,
            and ``rollout/sync_seconds``; nothing if nothing was to be done.
        """
        with self._lock:
            due = self.version < 0 or not 0 <= version - self.version < self._options.sync_every
            if not due and not self._server.asleep:
                return {}
            started = time.monotonic()
            if due:
                self._server.publish(vlm, version)
            if not self._probes:
                few = list(probes[: self._options.probes])
                self._prompts = [question.prompt for question in few]
                keys = [[f"probe/{number}"] for number in range(len(few))]
                self._probes = self._requests(few, keys, self._probe_sampling)
            self._hand_over()
            parity = self._check(vlm, anew=due)
            return {
                "rollout/parity": parity.largest,
                "rollout/parity_mean": parity.mean,
                "rollout/sync_seconds": time.monotonic() - started,
            }

    def _hand_over(self) -> None:
        """Gives the server the newest weights; one that goes away meanwhile is brought back."""
        try:
            self._server.deliver()
        except Lost as first:
            loss = first
        else:
            return
        for _ in range(self._options.restarts):
            try:
                self._server.bring_back(self._closed)
            except Lost as another:
                loss = another
            else:
                return
        raise self._gave_up(loss, f"it could not be given the weights of step {self.version}")

    def _check(self, vlm: VLM, *, anew: bool) -> Parity:
        """Compares the server with the trainer, ``anew`` if its weights are those that were handed over."""
        if anew:
            self._record = None
        done = self._answered(self._probes)
        responses = [done[request.key] for request in self._probes]
        if self._record is None:
            self._record = Record.made(vlm, self._prompts, responses, self._probe_sampling.temperature)
        return self._judged(self._record.beside(responses))

    def _check_again(self) -> Parity:
        """Compares the server with what the trainer said when it still had these weights.

        Raises:
            Lost: If the server goes away meanwhile.
            UserError: If they are too far apart.
        """
        if self._record is None:  # lost before it was first checked: that comes next
            return Parity(0.0, 0.0, "")
        done: dict[str, Completion] = {}
        loss = self._ask(self._probes, done)
        if loss is not None:
            raise loss
        return self._judged(self._record.beside([done[request.key] for request in self._probes]))

    def _judged(self, parity: Parity) -> Parity:
        """The same, if it is close enough.

        Raises:
            UserError: If it is not.
        """
        most = self._options.parity_tolerance
        if parity.largest <= most:
            return parity
        what = (
            f"after the weights of step {self.version} were handed over, its log-probabilities differ from the "
            f"trainer's by up to {parity.largest:.3g} ({parity.where}; mean {parity.mean:.3g}); {most:g} is allowed"
        )
        fix = (
            "see whether it serves this model, untied, in the same type of numbers and logprobs mode (see "
            "docs/rollout_engines.md); rollout.parity_tolerance sets what is allowed"
        )
        raise UserError([Fault(f"{CALLED} at {self._server.url}", what, fix)])

    # -- the end -----------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """See the base class."""
        with self._lock:
            try:
                self._server.rest()
            except Lost as loss:
                raise self._gave_up(loss, "it was to sleep") from loss

    def close(self) -> None:
        """Ends the server if it is ours; requests that are under way fail."""
        self._closed.set()
        self._server.close()
