"""One request to a server that may be slow, broken or hostile: limited in time and size, no redirects, no proxies."""

from __future__ import annotations

import io
import os
import re
import socket
import ssl
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.options import Checks

PATH = "/chat/completions"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_EXCERPT = 200
_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_url(checks: Checks, where: str, url: str) -> Checks:
    """A base URL must be http(s) with a host, and have no credentials, query or fragment; none of them is shown."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # UnicodeError included: what is no host name
        return checks.that(False, where, "is no URL", "give a base URL such as http://localhost:8000/v1")
    sound = parts.scheme in _PORTS and host and all("!" <= character <= "~" for character in url)
    checks.that(bool(sound), where, "is no http(s) URL", "give a base URL such as http://localhost:8000/v1")
    secret = "@" in parts.netloc
    checks.that(not secret, where, "holds credentials", "name the variable that holds the key in api_key_env")
    bare = not parts.query and not parts.fragment and not parts.path.rstrip("/").endswith(PATH)
    return checks.that(bare, where, "is more than the base of an API", f"leave out {PATH}, the query and the fragment")


def check_key(checks: Checks, where: str, variable: str) -> Checks:
    """The variable must be set. Its name is not shown: people put the key there."""
    if variable and not _VARIABLE.fullmatch(variable):
        return checks.that(False, where, "is no name of a variable", "give the variable's name, never the key itself")
    fix = "export the variable with the key, or leave the option empty if the server wants none"
    return checks.that(not variable or _key(variable) != "", where, "the variable that it names holds no key", fix)


def _key(variable: str) -> str:
    """The key, or an empty text if there is none that can be sent."""
    key = os.environ.get(variable, "").strip() if variable else ""
    return key if all("!" <= character <= "~" for character in key) else ""


def wait_s(attempt: int, retry_after: str | None) -> float:
    """Seconds until the next attempt, at most 60: what the server asks for, or else 0.5 * 2^``attempt``."""
    asked = _FIRST_WAIT_S * 2 ** min(attempt, 10)
    if retry_after is not None and re.fullmatch(r"[0-9]{1,9}", retry_after):
        asked = float(retry_after)
    elif retry_after is not None:
        try:
            moment = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            pass  # neither seconds nor a date: as if it were not there
        else:
            asked = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(asked, 0.0), _LONGEST_WAIT_S)


class _Failed(Exception):
    """An attempt came to nothing; ``again`` says whether another may do better."""

    def __init__(self, what: str, fix: str, *, again: bool = False, retry_after: str | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.again, self.retry_after = what, fix, again, retry_after


class Unanswered(UserError):
    """All attempts failed, the last of them in a way that may pass: no connection, a time-out, status 429 or 5xx."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line to a server.

    Attributes:
        url: Base URL, as :func:`check_url` wants it.
        called: What messages call the server, and where its options are: ``judge``.
        api_key_env: Variable of the environment that holds the key, read for every request; empty for none.
        timeout_s: Longest time for one attempt, from connecting to the last byte; to connect to each of the host's
            addresses, and to agree on TLS, may take as long again.
        retries: More attempts after 429, 5xx, and connections that fail or time out.
        max_response_bytes: Longest response.
        path: What is asked for, behind the base URL.
        refused: What helps if the server refuses a request; empty for what fits chat completions.
    """

    url: str
    api_key_env: str
    timeout_s: float
    retries: int
    max_response_bytes: int
    called: str = "judge"
    path: str = PATH
    refused: str = ""

    def post(self, body: bytes, stop: Event) -> bytes:
        """Sends a JSON body, returns the body of the answer.

        Args:
            body: The request.
            stop: Once set, there is no further attempt.

        Raises:
            UserError: If all attempts fail; it names the URL and the last attempt's failure, never the key.
            Unanswered: If the last one failed in a way that may pass.
            CancelledError: If stopped before an attempt.
        """
        return self._ask(body, stop)

    def get(self, stop: Event) -> bytes:
        """As :meth:`post`, but a request without a body."""
        return self._ask(None, stop)

    def _ask(self, body: bytes | None, stop: Event) -> bytes:
        attempt = 0
        while not stop.is_set():
            try:
                return self._attempt(body)
            except _Failed as failure:
                if not failure.again or attempt >= self.retries:
                    fault = self.fault(failure.what, failure.fix, attempts=attempt + 1)
                    raise (Unanswered(fault.faults) if failure.again else fault) from failure
                stop.wait(wait_s(attempt, failure.retry_after))
            attempt += 1
        raise CancelledError

    def fault(self, what: str, fix: str, *, attempts: int = 1) -> UserError:
        """What went wrong with this server."""
        often = f" ({attempts} attempts)" if attempts > 1 else ""
        return UserError([Fault(f"{self.called} at {self.url}", f"{what}{often}", fix)])

    def excerpt(self, text: str) -> str:
        """The beginning of what a server wrote, fit for a terminal, without the key."""
        key = _key(self.api_key_env)
        text = text.replace(key, "***") if key else text
        return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:_EXCERPT]

    def _attempt(self, body: bytes | None) -> bytes:
        key = _key(self.api_key_env)
        if self.api_key_env and not key:
            raise _Failed(f"needs a key, and the variable that {self.called}.api_key_env names holds none", "export it")
        try:
            status, retry_after, answer = self._exchange(body, key)
        except TimeoutError as error:
            what = f"did not answer within {self.timeout_s:g} s"
            raise _Failed(what, f"see whether it is busy, or raise {self.called}.timeout_s", again=True) from error
        except (OSError, HTTPException) as error:
            what = f"cannot be reached: {self.excerpt(str(error)) or type(error).__name__}"
            raise _Failed(what, f"start the server, or correct {self.called}.url", again=True) from error
        if len(answer) > self.max_response_bytes:
            what = f"answered {status} with more than {self.max_response_bytes} bytes"
            raise _Failed(what, f"correct {self.called}.url, or raise {self.called}.max_response_bytes")
        if 200 <= status < 300:
            return answer
        # A server that refuses a key may quote parts of it.
        words = "" if status in (401, 403) else self.excerpt(answer.decode("utf-8", "replace"))
        what = f"answered with status {status}" + (f": {words}" if words else "")
        again = status == 429 or status >= 500
        raise _Failed(what, self._fix(status), again=again, retry_after=retry_after)

    def _exchange(self, body: bytes | None, key: str) -> tuple[int, str | None, bytes]:
        """One request; returns status, ``Retry-After``, and the body up to one byte more than is allowed."""
        until = time.monotonic() + self.timeout_s
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        connection = (
            HTTPSConnection(host, port, timeout=self.timeout_s, context=_tls())
            if parts.scheme == "https"
            else HTTPConnection(host, port, timeout=self.timeout_s)
        )
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "specs_lab"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.connect()
            connection.sock = _TimedSocket(connection.sock, until)
            method = "GET" if body is None else "POST"
            connection.request(method, parts.path.rstrip("/") + self.path, body, headers)
            with connection.getresponse() as response:
                answer = response.read(self.max_response_bytes + 1)
                return response.status, response.getheader("Retry-After"), answer
        finally:
            connection.close()

    def _fix(self, status: int) -> str:
        at = self.called
        if status in (401, 403):
            return f"export a valid key in the variable that {at}.api_key_env names"
        if 300 <= status < 400:
            return f"redirects are not followed: give the final address as {at}.url"
        if self.refused and status < 500 and status != 429:
            return self.refused
        if status == 404:
            return f"correct {at}.url (what stands before {self.path}) or {at}.model"
        if status == 429:
            more = f", or raise {at}.retries" if self.retries else ""  # not every line has the option
            return f"lower {at}.max_concurrent{more}"
        return "see the server's log" if status >= 500 else f"correct {at}.model, {at}.max_tokens or {at}.prompt"


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _TimedSocket:
    """As much of a socket as ``http.client`` uses, until a point in time.

    A socket's own limit is for each operation: a server that sends a byte now and then would never meet it.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until

    def sendall(self, data: Any) -> None:
        _set_time_left(self._sock, self._until)
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # always "rb"
        return io.BufferedReader(_TimedReader(self._sock, self._until))

    def close(self) -> None:
        self._sock.close()


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a point in time."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _set_time_left(self._sock, self._until)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _set_time_left(sock: socket.socket, until: float) -> None:
    """Limits a socket's next operation to the time that is left; raises TimeoutError if there is none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)
