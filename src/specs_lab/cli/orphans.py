"""Jobs end soon after what started them has gone: a sweep that is killed can no longer end them itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from specs_lab.core.stopping import ask_to_stop

PARENT_VARIABLE = "SPECS_LAB_PARENT"
_POLL_S = 0.5


def parent_environment(grace_s: float) -> dict[str, str]:
    """Variables that make a job, started by this very process, end with it.

    Args:
        grace_s: How long the job may take to end by itself, in seconds.
    """
    return {PARENT_VARIABLE: f"{os.getpid()} {grace_s}"}


def end_with_parent() -> None:
    """Does what :func:`parent_environment` asks for, if anything.

    A thread looks whether the parent is still there: unlike Linux's own signal at a parent's death, that leaves time
    to write a checkpoint, and holds elsewhere too. Processes that this one starts are not asked to do the same.
    """
    text = os.environ.pop(PARENT_VARIABLE, None)
    if text is not None:
        parent, grace_s = text.split()
        threading.Thread(target=_watch, args=(int(parent), float(grace_s)), name="parent", daemon=True).start()


def _watch(parent: int, grace_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    ask_to_stop()
    time.sleep(grace_s)
    if os.getpgrp() == os.getpid():  # with what this process has started
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def birth_of(pid: int) -> str:
    """When a process was started, which tells it from a later one with its number; empty if there is none.

    Where the system does not say when (no Linux), whether it is there is all that is told.
    """
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, *fields = stat.rpartition(")")[2].split()  # the name before may hold anything
        return "" if state == "Z" else fields[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "there"
