"""Servers that are asked for an answer and want to do harm; slow and endless ones are in tests/evaluation."""

import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from specs_lab.core.chat import Line
from specs_lab.core.errors import UserError

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], Line]]:
    """Starts a server that does as it likes with a connection once it has read the request; returns a line to it."""
    servers: list[tuple[socket.socket, threading.Thread, list[int]]] = []

    def start(act: Callable[[socket.socket], None], timeout_s: float = 30.0) -> Line:
        server = socket.create_server(("127.0.0.1", 0))
        count: list[int] = []

        def loop() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                count.append(1)
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    act(connection)

        thread = threading.Thread(target=loop)
        thread.start()
        servers.append((server, thread, count))
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        return Line(url=url, api_key_env="", timeout_s=timeout_s, retries=0, max_response_bytes=10_000)

    yield start
    for server, thread, _ in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def endless(piece: bytes, first: bytes = b"") -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return act


@pytest.mark.parametrize(
    "act",
    [
        endless(b"X-Flood: y\r\n", OK),
        endless(b"x" * 65536, OK + b"X-Long: "),
        endless(b"x" * 65536),
        endless(b"x" * 65536, OK + b"\r\n"),
        endless(b"10000\r\n" + b"x" * 65536 + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        endless(b"0" * 65536, OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["headers", "a header", "a status line", "a body", "chunks", "a chunk's length"],
)
def test_floods_end(serve, act):
    with pytest.raises(UserError):
        serve(act).post(b"{}", Event())


def test_answers_that_are_none_end_in_time(serve):
    with pytest.raises(UserError, match="did not answer within"):
        serve(endless(b"HTTP/1.1 100 Continue\r\n\r\n"), timeout_s=0.3).post(b"{}", Event())


def test_a_packed_body_is_not_unpacked(serve):
    packed = gzip.compress(bytes(5_000_000))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    line = serve(lambda connection: connection.sendall(head + packed))
    assert len(packed) < line.max_response_bytes
    assert line.post(b"{}", Event()) == packed


@pytest.mark.parametrize("to", ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data", "//elsewhere/v1"])
def test_redirects_lead_nowhere(serve, to: str):
    head = f"HTTP/1.1 307 Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(UserError, match="status 307"):
        serve(lambda connection: connection.sendall(head)).post(b"{}", Event())


@pytest.mark.parametrize("retries", [0, 2])
def test_who_never_tries_again_is_not_told_of_an_option_for_it(retries: int):
    line = Line(url="http://x", api_key_env="", timeout_s=1, retries=retries, max_response_bytes=1, called="rollout")
    assert ("rollout.retries" in line._fix(429)) == bool(retries)
