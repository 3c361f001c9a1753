"""A vLLM server of our own: started on a free port, and ended with all its processes whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from specs_lab.core.errors import Fault, UserError

# vLLM starts further processes, in its own process group. This one leads the group, and ends it when the pipe that it
# reads is closed, as that of a trainer is which is killed. It leaves SIGTERM to the server, and ends after it.
_WATCH = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def gone():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=gone, daemon=True).start()
sys.exit(child.wait())
"""
_OF_THIS_PROCESS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""Variables that are about this process, not about the server's."""
_END_S = 20.0
_BETWEEN_S = 0.2
_TAIL = 1500


class ServerProcess:
    """A server as a process.

    Args:
        python: The Python that has vLLM.
        log: Where the server's output goes; a server that is started again adds to it.
        port: Its port; 0: a free one each time.
        start_s: How long it may take until it answers.
    """

    def __init__(self, python: str, log: Path, *, port: int, start_s: float) -> None:
        self._python, self._log, self._asked_port, self._start_s = python or sys.executable, log, port, start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def lives(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, arguments: Sequence[str], answers: Callable[[str], bool]) -> None:
        """Starts the server, in place of the one before, and waits until it answers.

        Args:
            arguments: Of vLLM, but for the address.
            answers: Whether the server at a base URL answers.

        Raises:
            UserError: If it ends or does not answer in time; with the end of its log.
        """
        self.end()
        self._port = self._asked_port or _free_port()
        # The module, not the `vllm` command: that looks for a distribution called so, and the CPU build is another.
        command = [self._python, "-m", "vllm.entrypoints.openai.api_server", *arguments]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WATCH, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        try:
            self._wait(answers)
        except BaseException:
            self.end()
            raise

    def _wait(self, answers: Callable[[str], bool]) -> None:
        until = time.monotonic() + self._start_s
        while not answers(self.url):
            if not self.lives:
                raise self._fault("it ended before it answered")
            if time.monotonic() > until:
                raise self._fault(f"it did not answer within {self._start_s:g} s (rollout.start_s)")
            time.sleep(_BETWEEN_S)

    def _fault(self, what: str) -> UserError:
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        fix = "see what it says; rollout.python must have vLLM, rollout.args are handed to it"
        return UserError([Fault("rollout", f"the vLLM server cannot be started: {what}. Its log ends:\n{tail}", fix)])

    def end(self) -> None:
        """Ends the server and all that it has started: asked first, then told."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:  # nobody is left in the group
                break
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                continue
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
    return kept | {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
