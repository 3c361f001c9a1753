"""What the workers of the tests run; found by its place in PYTHONPATH, never imported by a test."""

import ctypes
import functools
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

KEPT: list[bytearray] = []


def do(request: dict) -> dict:
    """Calls the function that the request names with the rest of the request."""
    if "tell" in request:  # the test learns which process works at it
        note = Path(request.pop("tell"))
        note.with_suffix(".new").write_text(str(os.getpid()))
        note.with_suffix(".new").rename(note)
    return globals()[request.pop("do")](**request)


def double(number: int) -> dict:
    return {"number": 2 * number, "pid": os.getpid()}


def compute_for_ever() -> dict:
    return {"any": any(itertools.repeat(False))}  # one call of a C function, which keeps the GIL


def sleep_for_ever() -> dict:
    while True:
        time.sleep(1)


def hang_with_a_child(path: str) -> dict:
    child = subprocess.Popen(["sleep", "600"])
    Path(path).write_text(str(child.pid))
    return sleep_for_ever()


def await_file(path: str) -> dict:
    while not Path(path).exists():
        time.sleep(0.01)
    return {"pid": os.getpid()}


def make_file(path: str) -> dict:
    Path(path).touch()
    return {"pid": os.getpid()}


def eat_memory() -> dict:
    KEPT.append(bytearray(4 << 30))
    return {}


def eat_memory_and_hide_it() -> dict:
    try:
        return eat_memory()
    except MemoryError as error:
        raise ValueError("something went wrong") from error


def keep_memory(megabytes: int) -> dict:
    KEPT.append(bytearray(megabytes << 20))
    return {"pid": os.getpid()}


def leave() -> dict:
    os._exit(0)


def leave_politely() -> dict:
    sys.exit("enough")


def die(number: int) -> dict:
    os.kill(os.getpid(), number)
    return {}


def read_nothing() -> dict:
    ctypes.string_at(0)
    return {}


def fail(message: str) -> dict:
    raise KeyError(message)


def fail_unreadably() -> dict:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    raise Unreadable


def recurse() -> dict:
    return recurse()


def give(value: object) -> object:
    return value


def give_an_object() -> dict:
    return {"object": object()}


def chat() -> dict:
    print("a line for nobody")
    sys.stdout.flush()
    os.write(1, b'{"status": "done", "value": {"number": 666}}\n')
    os.write(2, b"x" * 200_000)
    subprocess.run(["echo", "so do subprocesses"], check=True)
    return {"read": sys.stdin.read()}


def give_text(size: int) -> dict:
    return {"text": "x" * size}


def length(text: str) -> dict:
    return {"length": len(text)}


def leave_an_alarm() -> dict:
    signal.setitimer(signal.ITIMER_REAL, 3600)
    return {}


def timers() -> dict:
    return {"left": signal.getitimer(signal.ITIMER_REAL)[0]}


def surroundings() -> dict:
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONHASHSEED", "PYTHONTRACEMALLOC")
    return {"variables": {name: os.environ.get(name) for name in names}, "torch": "torch" in sys.modules}


@functools.cache
def pool():
    """A pool of the process that calls this (the tests' scripts import this module)."""
    from specs_lab.rewards.isolation.workers import WorkerPool

    return WorkerPool("worker_handlers:do", size=1, time_limit_s=60)


class Doubled:
    """A dataset, for the tests with a DataLoader: each item is graded where it is made."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        reply = pool().ask({"do": "double", "number": index})
        return {"status": reply.status, "process": os.getpid()} | (reply.value or {})
