"""A vLLM server on the CPU, in an environment of its own: started on a free port, and ended whatever happens."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

VARIABLE = "SPECS_LAB_VLLM"
"""Names the Python of an environment with vLLM, or the ``vllm`` beside it."""
_START_S, _ANSWER_S, _END_S = 600.0, 300.0, 30.0
_NAME = "model"


class NoVLLM(Exception):
    """There is no vLLM to be asked; the text says why."""


@dataclass(frozen=True)
class Answer:
    """What the server said.

    Attributes:
        text: The response, with special tokens but without the one that ended it.
        token_ids: Its tokens, the last one included.
        prompt_ids: The prompt's tokens, the pictures' included.
    """

    text: str
    token_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]


def python_of_vllm() -> Path:
    """The Python that has vLLM.

    Raises:
        NoVLLM: If the environment does not name any.
    """
    given = os.environ.get(VARIABLE, "")
    if not given:
        raise NoVLLM(f"{VARIABLE} is not set: make it the path of the vllm of an environment with vLLM, or its python")
    path = Path(given)
    path = path.with_name("python") if path.name.startswith("vllm") else path
    if not path.is_file():
        raise NoVLLM(f"{VARIABLE}: there is no {path}")
    return path


def run_python(code: str, *arguments: str) -> str:
    """What a piece of code prints in vLLM's environment, whose torchvision loads stock processors.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    command = [str(python_of_vllm()), "-c", code, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=_START_S, env=_environment(1)
    ).stdout


class Server:
    """Serves a model while it is entered.

    Args:
        folder: The model.
        log: Where the server's output goes.
        length: Longest sequence, prompt and response together.
        dtype: What it computes in.
    """

    def __init__(self, folder: Path, log: Path, *, length: int, dtype: str = "float32") -> None:
        self._log = log
        self._port = _free_port()
        # The module, not the `vllm` command: that looks for a distribution called so, and the CPU build is another.
        self._command = [str(python_of_vllm()), "-m", "vllm.entrypoints.openai.api_server"]
        self._command += ["--model", str(folder), "--served-model-name", _NAME, "--generation-config", "vllm"]
        self._command += ["--host", "127.0.0.1", "--port", str(self._port), "--enforce-eager"]
        self._command += ["--dtype", dtype, "--max-model-len", str(length)]
        # Vision features and prompts of earlier questions would be reused, and change nothing; off, nothing can.
        self._command += ["--no-enable-prefix-caching"]

    def __enter__(self) -> Self:
        self._file = self._log.open("wb")
        # A group of its own, because the server starts further processes.
        self._process = subprocess.Popen(
            self._command, stdout=self._file, stderr=self._file, env=_environment(1), start_new_session=True
        )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def ended(self) -> bool:
        """Whether the server has ended."""
        return self._process.poll() is not None

    def _wait(self) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self.ended:
                raise RuntimeError(f"vLLM ended with code {self._process.returncode}:\n{self._tail()}")
            try:
                with _open(f"http://127.0.0.1:{self._port}/health", None, 5.0):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise RuntimeError(f"vLLM did not start within {_START_S:.0f} s:\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def _end(self) -> None:
        """Ends the server and all that it has started: asked first, then told."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._file.close()

    def ask(self, text: str, images: Sequence[Image.Image], max_tokens: int) -> Answer:
        """The greedy response to one user turn, its pictures before its text, by the chat endpoint."""
        urls = [f"data:image/png;base64,{base64.b64encode(_png(image)).decode()}" for image in images]
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        body = {
            "model": _NAME,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": text}]}],
            "temperature": 0,
            "max_tokens": max_tokens,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        with _open(f"http://127.0.0.1:{self._port}/v1/chat/completions", body, _ANSWER_S) as response:
            said = json.load(response)
        (choice,) = said["choices"]
        return Answer(choice["message"]["content"] or "", tuple(choice["token_ids"]), tuple(said["prompt_token_ids"]))


def _environment(threads: int) -> dict[str, str]:
    """Offline, silent, one thread; nothing of this package's own import path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def _open(url: str, body: dict[str, Any] | None, seconds: float) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(request, timeout=seconds)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
