"""What is said to a vLLM server (0.32): tokens in and out, and new weights. Names of its endpoints are all here.

Tokens go by ``/inference/v1/generate`` (``--enable-scale-out``), pictures beside them. Log-probabilities are those of
the whole distribution at the temperature: at temperature 1 vLLM's ``raw_logprobs``; at others ``processed_logprobs``,
which leave out the tokens that are never sampled, so that they are larger by minus the logarithm of what these lack.
Weights go by the engine's own ways that take a folder, which need no GPU: ``reload_weights`` by ``/collective_rpc``,
and ``/v1/load_lora_adapter`` in place; caches of what older weights made are emptied after. ``/update_weights`` wants
NCCL or CUDA IPC. The number of the weights is told to the server, and each of its answers names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

from specs_lab.core.chat import Line, Unanswered
from specs_lab.core.errors import UserError
from specs_lab.core.seeding import derive_seed
from specs_lab.rollout.sampling import Completion, Sampling

CALLED = "rollout"
MODEL, ADAPTER = "policy", "policy-adapter"
"""Names of the model and of the adapter on the server."""
_NEVER = -100.0
"""The least bias that vLLM takes; e^-100 of a token's probability is left."""
_FLAGS = (
    "start the server with --enable-scale-out (and --enable-lora for an adapter), --served-model-name policy, and the "
    "variables VLLM_SERVER_DEV_MODE=1 and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1; docs/rollout_engines.md has the command"
)
_CACHES = ("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache")
_AROUND = 12
"""Tokens shown before and after the first difference of two prompts."""


class Lost(Exception):
    """A request that came to nothing for a reason that may pass: no server there, or one with other weights."""


@dataclass(frozen=True)
class Vocabulary:
    """What of a model's tokens a server has to be told.

    Attributes:
        image_id: The placeholder of pictures.
        never_sampled: Tokens that only pictures have.
        end_ids: Tokens that end a response.
    """

    image_id: int
    never_sampled: Sequence[int]
    end_ids: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One response to be sampled.

    Attributes:
        key: Names its random numbers, and it.
        prompt_ids: The prompt's tokens, placeholders of pictures expanded.
        urls: Its pictures as data URLs.
        sampling: How to draw.
    """

    key: str
    prompt_ids: tuple[int, ...]
    urls: tuple[str, ...]
    sampling: Sampling


@dataclass
class Client:
    """Talks to one server.

    Args:
        line: The line to it; its path is not used.
        vocabulary: Of the policy.
        name: Of the model that is asked, there.
    """

    line: Line
    vocabulary: Vocabulary
    name: str = MODEL

    def generate(self, request: Request, weights: str, stop: Event) -> Completion:
        """Samples a response.

        Args:
            request: What to sample.
            weights: The number that the server knows the weights by which have to answer.
            stop: Once set, the server is not asked again.

        Raises:
            Lost: If the server is not there, or has other weights.
            UserError: If it answers something else than was asked for.
        """
        try:
            answer = self._post("/inference/v1/generate", self._body(request), stop)
        except Unanswered as error:
            raise Lost(error.faults[0].what) from error
        try:
            (choice,) = answer["choices"]
            seen, ids = tuple(answer["prompt_token_ids"]), tuple(choice["token_ids"])
            content = choice["logprobs"]["content"]
            logprobs = tuple(float(one["logprob"]) for one in content)
            named, by = tuple(one["token_id"] for one in content), {v["version"] for v in choice["weight_versions"]}
            ended = choice["finish_reason"]
        except (KeyError, TypeError, ValueError) as error:
            raise self.line.fault(f"sent no response with tokens and log-probabilities ({error!r})", _FLAGS) from error
        if ended == "abort":
            raise Lost("broke a response off")
        if by != {weights}:
            raise Lost(f"answered by the weights {', '.join(sorted(by))}, not {weights}")
        if seen != request.prompt_ids:
            raise self._other_prompt(request, seen)
        if not ids or named != ids or not all(map(math.isfinite, logprobs)):
            raise self.line.fault("sent log-probabilities that do not belong to its tokens", "see the server's log")
        return self._completion(request.sampling, ids, logprobs)

    def _completion(self, sampling: Sampling, ids: tuple[int, ...], logprobs: tuple[float, ...]) -> Completion:
        ends = self.vocabulary.end_ids
        truncated = ids[-1] not in ends
        if truncated and len(ids) < sampling.max_new_tokens:
            what = f"cut a response after {len(ids)} tokens, where {sampling.max_new_tokens} are allowed"
            raise self.line.fault(what, "give the server a larger --max-model-len (rollout.max_length)")
        if (
            set(ids[:-1]) & set(ends)
            or set(ids) & set(self.vocabulary.never_sampled)
            or len(ids) > (sampling.max_new_tokens)
        ):
            raise self.line.fault("sent tokens that were not to be sampled", "serve the model that is trained")
        return Completion(ids, logprobs, truncated)

    def _body(self, request: Request) -> dict[str, Any]:
        words, sampling = self.vocabulary, request.sampling
        body: dict[str, Any] = {
            "model": self.name,
            "request_id": request.key,
            "token_ids": _one_placeholder_each(request.prompt_ids, words.image_id),
            "return_token_ids": True,
            "sampling_params": {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_new_tokens,
                "seed": derive_seed("sample", request.key),
                "logprobs": 0,
                "ignore_eos": True,  # what ends a response is said below
                "stop_token_ids": list(words.end_ids),
                "logit_bias": {str(token): _NEVER for token in words.never_sampled},
                "detokenize": False,
            },
        }
        if request.urls:
            body["content_parts"] = [{"type": "image_url", "url": url} for url in request.urls]
        return body

    def _other_prompt(self, request: Request, seen: tuple[int, ...]) -> UserError:
        ours = request.prompt_ids
        same = next((i for i, (a, b) in enumerate(zip(ours, seen, strict=False)) if a != b), min(len(ours), len(seen)))
        part = slice(max(0, same - _AROUND), same + _AROUND)
        what = (
            f"reads another prompt than the trainer, from token {same} on: {list(seen[part])} of {len(seen)}, "
            f"the trainer {list(ours[part])} of {len(ours)} (request {request.key})"
        )
        return self.line.fault(what, "serve the model that is trained with its own processor, or rollout=inprocess")

    # -- weights -----------------------------------------------------------------------------------------------------

    def served(self) -> str:
        """The number of the weights that the server says it has.

        Raises:
            Lost: If it does not answer.
        """
        return str(self._told("/weight_info").get("weight_version"))

    def is_well(self) -> bool:
        """Whether the server answers that it is ready."""
        try:
            self._line("/health").get(Event())
        except UserError:
            return False
        return True

    def knows(self, name: str) -> bool:
        """Whether the server has a model or an adapter by a name."""
        listed = self._told("/v1/models").get("data", [])
        return any(isinstance(one, dict) and one.get("id") == name for one in listed)

    def load_model(self, folder: Path, weights: str) -> None:
        """Gives the server the weights in a folder, and tells it their number.

        Raises:
            Lost: If it does not answer.
            UserError: If it refuses.
        """
        self.tell("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
        self.number(weights)

    def load_adapter(self, folder: Path, weights: str) -> None:
        """Gives the server an adapter in place of the one before."""
        self.tell("/v1/load_lora_adapter", {"lora_name": ADAPTER, "lora_path": str(folder), "load_inplace": True})
        self.number(weights)

    def number(self, weights: str) -> None:
        """Empties what older weights have left in caches, and tells the server the number of its weights."""
        for path in _CACHES:
            if self.tell(path, {}).get("success") is False:
                what = f"cannot empty a cache ({path}), which holds what older weights made"
                raise self.line.fault(
                    what, "let nobody else ask this server, or start it with --no-enable-prefix-caching"
                )
        self.tell("/update_weight_version", {"new_version": weights})

    def sleep(self, level: int) -> None:
        """Sends the server to sleep, and makes sure that it does."""
        self.tell(f"/sleep?level={level}", {})
        if self._told("/is_sleeping").get("is_sleeping") is not True:
            raise self.line.fault("does not sleep when told to", "start it with --enable-sleep-mode, or rollout=vllm")

    def wake(self, part: str) -> None:
        """Wakes a part of the server: ``weights`` or ``kv_cache``."""
        self.tell(f"/wake_up?tags={part}", {})

    def tell(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Sends a command; returns its answer, empty if that is no JSON object.

        Raises:
            Lost: If the server does not answer, or with a status of 5xx.
            UserError: If it refuses.
        """
        try:
            return _object(self._line(path).post(json.dumps(body).encode(), Event()))
        except Unanswered as error:
            raise Lost(error.faults[0].what) from error

    def _told(self, path: str) -> dict[str, Any]:
        try:
            return _object(self._line(path).get(Event()))
        except Unanswered as error:
            raise Lost(error.faults[0].what) from error

    def _post(self, path: str, body: dict[str, Any], stop: Event) -> dict[str, Any]:
        return _object(self._line(path).post(json.dumps(body).encode(), stop))

    def _line(self, path: str) -> Line:
        return replace(self._commands, path=path)

    @cached_property
    def _commands(self) -> Line:
        return replace(self.line, refused=_FLAGS)


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _one_placeholder_each(token_ids: Sequence[int], image_id: int) -> list[int]:
    """Tokens in which each picture has a single placeholder, as vLLM expands them."""
    return [t for i, t in enumerate(token_ids) if t != image_id or i == 0 or token_ids[i - 1] != image_id]
