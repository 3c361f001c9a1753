"""A process that has imported everything and forks: real processes without the seconds that imports take.

    python benchmarks/soak_zygote.py SOCKET

Each connection to the socket is one job: JSON with ``argv``, ``cwd`` and ``env``, and the descriptors of its output and
of its events. The answers are the job's process id and, when it has ended, its exit status, a line each. A job has a
process group of its own and can be killed as any other. The zygote ends with its standard input.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

_PRELOADED = (
    "specs_lab.run",
    "lightning",
    "pandas",
    "pyarrow.parquet",
    "peft",
    *(f"specs_lab.stages.{name}" for name in ("base", "rl", "coldstart", "construct", "select", "explore", "evaluate")),
    "specs_lab.stages.pretrain",
    "specs_lab.models.adapting",
    "specs_lab.tracking.loggers",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
)
_LARGEST = 1 << 20
_SURVIVES_FORKS = "jemalloc_bg_thd"
"""A thread of Arrow's allocator, which starts it again in forks."""


def preload() -> None:
    """Imports what jobs need.

    Raises:
        RuntimeError: If that has started a thread, which forks would lack.
    """
    from importlib import import_module

    for name in _PRELOADED:
        import_module(name)
    threads = [(path / "comm").read_text().strip() for path in Path("/proc/self/task").iterdir()]
    if set(threads[1:]) - {_SURVIVES_FORKS}:
        raise RuntimeError(f"importing has started threads: {threads[1:]}")


def serve(path: str) -> None:
    """Takes jobs until standard input ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                _keep(connection)


def _keep(connection: socket.socket) -> NoReturn:
    """The keeper of one job: forks it, waits for it, tells how it ended."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        text, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 2)
        while not text.endswith(b"\n"):
            text += connection.recv(_LARGEST)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(json.loads(text), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(f"{pid}\n".encode())
        _, ended = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(ended)}\n".encode())
        status = 0
    except OSError:  # whoever asked has gone
        traceback.print_exc()
    finally:
        os._exit(status)


def _run(job: dict[str, Any], output: int, events: int) -> NoReturn:
    """The job itself, as ``python -m specs_lab.run`` would do it."""
    code = 1
    try:
        os.setsid()
        for target in (1, 2):
            os.dup2(output, target)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(job["env"])
        if events >= 0 and "SPECS_LAB_EVENTS_FD" in os.environ:
            os.environ["SPECS_LAB_EVENTS_FD"] = str(events)
        os.chdir(job["cwd"])
        sys.argv = ["specs_lab.run", *job["argv"]]
        _be_new()
        from specs_lab.run import main

        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _be_new() -> None:
    """What a new process would not share with others: random numbers that were drawn from the system at import."""
    import numpy
    import soak_child  # pyright: ignore[reportMissingImports] # its folder is on the path of jobs only

    random.seed()
    numpy.random.seed()  # the global one, on purpose
    soak_child.install()


if __name__ == "__main__":
    preload()
    serve(sys.argv[1])
