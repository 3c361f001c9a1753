"""What a worker process runs: one function, asked over a pipe, within its own memory limit.

Started by :mod:`specs_lab.rewards.isolation.workers` as ``python -m`` this module, with the handler, the memory in MiB
and the seconds of processor time.
One JSON object a line: first ``{"ready": true}`` or ``{"failed": reason}``, then a reply to every request. It imports
nothing but the standard library and the handler's module: a start is as quick as that import.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

Handler = Callable[[dict[str, Any]], dict[str, Any]]

WORN_SHARE = 0.25
"""A worker says that it is worn once it keeps this share of its memory limit from one item to the next."""

_OUT_OF_MEMORY = b'{"status": "out of memory", "value": null, "worn": true}\n'  # made before there is no memory for it
_PARENT_POLL_S = 1.0
_MAX_ERROR = 500
_MAX_TRACEBACK = 4000


def address_space() -> int:
    """Bytes of address space that this process uses; Linux only."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def resolve(handler: str) -> Handler:
    """The function that ``module:function`` names; the module is imported.

    Raises:
        AttributeError: If the module has no such function.
        ImportError: If there is no such module; whatever else its import raises comes through as well.
    """
    module, _, function = handler.partition(":")
    return getattr(importlib.import_module(module), function)


def describe(error: BaseException) -> str:
    """An error's type and message, at most 500 characters."""
    try:
        message = str(error)
    except Exception:  # an error that cannot say what it is: only its type is known
        message = "(without a readable message)"
    return f"{type(error).__name__}: {message}"[:_MAX_ERROR]


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error is a MemoryError or was raised because of one."""
    for _ in range(10):
        if error is None or isinstance(error, MemoryError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


def answer(function: Handler, line: bytes, worn: Callable[[], bool]) -> bytes:
    """The line that replies to a request.

    Args:
        function: The handler.
        line: The request.
        worn: Asked after the handler has run, see :data:`WORN_SHARE`.
    """
    try:
        value = function(json.loads(line))
        if not isinstance(value, dict):
            raise TypeError(f"the handler returned {type(value).__name__}, not dict")
        return json.dumps({"status": "done", "value": value, "worn": worn()}).encode() + b"\n"
    except Exception as error:  # whatever a handler does wrong is told to the parent, and the next item goes on
        if ran_out_of_memory(error):
            return _OUT_OF_MEMORY
        reply = {"status": "crashed", "value": {"error": describe(error)}, "worn": worn()}
        return json.dumps(reply).encode() + b"\n"


def _private_streams() -> tuple[int, int]:
    """Takes the protocol's pipes away from file descriptors 0 and 1, where libraries read and print.

    Standard error goes to nowhere as well: nobody reads it, so a chatty library would block on it.

    Returns:
        The file descriptors to read requests from and to write replies to; no subprocess inherits them.
    """
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return requests, replies


def _send(replies: int, line: bytes) -> None:
    """Writes a whole line; ends the process if nobody is left to read it."""
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(replies, rest) :]
    except BrokenPipeError:
        os._exit(0)


def _end_with_parent(parent: int) -> NoReturn:
    """Ends this process once its parent has died, whatever the main thread does (as long as it lets go of the GIL)."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(0)


def _own_signals() -> None:
    """Undoes what was inherited, and leaves interrupts to the parent.

    SIGPROF comes from the timer in :func:`_serve`; its default action ends the process even inside a C function.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _limit_memory(megabytes: int) -> Callable[[], bool]:
    """Limits the address space to what is used now and ``megabytes`` more; Linux only, elsewhere there is no limit.

    Returns:
        A function that says whether the process has come to keep more than :data:`WORN_SHARE` of it.
    """
    if sys.platform != "linux":
        return lambda: False
    base, room = address_space(), megabytes << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = base + room if hard == resource.RLIM_INFINITY else min(base + room, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return lambda: address_space() - base > WORN_SHARE * room


def _serve(function: Handler, requests: int, replies: int, worn: Callable[[], bool], cpu_limit_s: float) -> None:
    """Replies to requests until there are no more."""
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            # The parent ends what takes too long. Should it be dead, this does: a C function that keeps the GIL
            # keeps it from the thread that watches the parent, too.
            signal.setitimer(signal.ITIMER_PROF, cpu_limit_s)
            reply = answer(function, line, worn)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm that the handler left would go off in the next item
            _send(replies, reply)


def main(handler: str, memory_limit_mb: str, cpu_limit_s: str) -> NoReturn:
    """Runs a worker until its requests or its parent end; the arguments are those of the command line."""
    parent = os.getppid()
    requests, replies = _private_streams()
    _own_signals()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is an answer here, no core file needed
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    try:
        function = resolve(handler)
    except (Exception, SystemExit):  # whatever an import can raise: the parent raises it
        reason = traceback.format_exc()[-_MAX_TRACEBACK:]
        _send(replies, json.dumps({"failed": reason}).encode() + b"\n")
        os._exit(1)
    worn = _limit_memory(int(memory_limit_mb))
    _send(replies, b'{"ready": true}\n')
    try:
        _serve(function, requests, replies, worn, float(cpu_limit_s))
    except MemoryError:  # a request that does not fit
        _send(replies, _OUT_OF_MEMORY)
    os._exit(0)  # at once: there is nothing to save


if __name__ == "__main__":
    main(*sys.argv[1:])
