"""A model behind an OpenAI-compatible chat-completions endpoint: its options, many requests at a time, its replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple, TypeVar

from specs_lab.core.chat import Line, check_key, check_url
from specs_lab.core.options import Checks

ASKED = 2
"""How often a question is asked whose reply cannot be read."""
_LONGEST_TIMEOUT_S = 3600

T = TypeVar("T")
R = TypeVar("R")


class Reply(NamedTuple):
    """The message of a chat completion.

    Attributes:
        text: What it says.
        cut: Whether it reached the longest length.
    """

    text: str
    cut: bool


def read_reply(response: bytes) -> Reply | None:
    """The message of a chat completion; None if the response is none."""
    try:
        choice: Any = json.loads(response)["choices"][0]
        content, cut = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):  # whatever a server may send
        return None
    return Reply(content, cut) if isinstance(content, str) else None


def ask(line: Line, post: Callable[[], bytes], read: Callable[[Reply], T | None], unclear: str, fix: str) -> T:
    """Asks until the reply can be read, twice at most.

    Args:
        line: The line to the server.
        post: Sends the request over it, returns the response.
        read: The value of a reply; None if it has none.
        unclear: What a reply without a value did, such as "gave no clear score".
        fix: What helps against it.

    Raises:
        UserError: If the server cannot be asked, or no reply can be read.
    """
    reply = None
    for _ in range(ASKED):
        reply = read_reply(post())
        value = None if reply is None else read(reply)
        if value is not None:
            return value
    what = "sent no chat completion" if reply is None else f"{unclear}: '{line.excerpt(reply.text)}'"
    raise line.fault(what, fix, attempts=ASKED)


def at_once(make: Callable[[T, Event], R], items: Sequence[T], most: int, name: str) -> list[R]:
    """Makes something of each item, several at a time, and returns it in order.

    Args:
        make: Called in a thread with an item and an event that is set once another call failed.
        items: The items.
        most: Calls at a time.
        name: Of the threads.

    Raises:
        Exception: What the first call to fail raises; the calls that are left are not made.
    """
    stop = Event()
    pool = ThreadPoolExecutor(max(1, min(most, len(items))), name)
    try:
        asked = [pool.submit(make, item, stop) for item in items]
        done, _ = wait(asked, return_when=FIRST_EXCEPTION)
        return [future.result() for future in asked if future in done]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@dataclass(kw_only=True)
class Endpoint:
    """Options of whoever asks a model behind a server.

    Redirects are not followed and proxies not used: the key goes to the host of ``url`` and nowhere else.

    Attributes:
        url: Base of the API, e.g. ``http://localhost:8000/v1``.
        model: The model's name there.
        api_key_env: Name of the environment variable that holds the key; empty if the server wants none.
        max_concurrent: Most requests at a time.
        timeout_s: Longest time for one request, from connecting to the last byte.
        retries: More attempts after status 429 or 5xx, and connections that fail or time out; the waits between them
            double from half a second, or are as long as the server asks for, up to a minute.
        max_response_bytes: Longest response.
        max_tokens: Longest reply; a model that reasons first needs many more than its answer has.
    """

    url: str = "http://localhost:8000/v1"
    model: str = "???"
    api_key_env: str = ""
    max_concurrent: int = 8
    timeout_s: float = 60.0
    retries: int = 4
    max_response_bytes: int = 1 << 20
    max_tokens: int = 16

    def address_checks(self) -> Checks:
        """The checks of what is asked where."""
        checks = check_url(Checks(), "url", self.url)
        named = self.model.strip() not in ("", "???")
        checks.that(named, "model", "has no value", "give the name that the server knows it by")
        return check_key(checks, "api_key_env", self.api_key_env)

    def limit_checks(self, checks: Checks) -> Checks:
        """Adds the checks of all other options."""
        checks.at_least("max_concurrent", self.max_concurrent, 1)
        in_range = 0 < self.timeout_s <= _LONGEST_TIMEOUT_S
        checks.that(in_range, "timeout_s", f"{self.timeout_s} is no time limit", "give seconds, > 0 and at most 3600")
        checks.at_least("retries", self.retries, 0).at_least("max_response_bytes", self.max_response_bytes, 1)
        return checks.at_least("max_tokens", self.max_tokens, 1)

    def line(self, called: str) -> Line:
        """The line to the server.

        Args:
            called: What messages call it, and the options' place in the config, e.g. ``judge``.
        """
        return Line(
            called=called,
            url=self.url,
            api_key_env=self.api_key_env,
            timeout_s=self.timeout_s,
            retries=self.retries,
            max_response_bytes=self.max_response_bytes,
        )
