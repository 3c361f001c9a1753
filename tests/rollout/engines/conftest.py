"""A stand-in for vLLM's server that answers by our own sampler, and forgets, refuses and dies when it is told to."""

import base64
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling


class FakeVllm:
    """The endpoints that the client uses.

    Attributes:
        vlm: What it samples from: that of the last folder it loaded.
        deaf: Whether it acknowledges new weights without loading them.
        dies_after: How many responses it gives before it refuses connections; None: it lives.
        told: The paths that it was asked for, in order.
        asked: The keys of the responses that it gave.
    """

    def __init__(self, prompts: dict[tuple[int, ...], Any], port: int = 0) -> None:
        self.vlm: VLM | None = None
        self.deaf, self.dies_after, self.shift = False, None, 0
        self.version, self.sleeping, self.sleeps = "default", False, True
        self.told: list[str] = []
        self.asked: list[str] = []
        self.dead = threading.Event()
        self._prompts, self._lock = prompts, threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(fake.get(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(fake.post(self.path, body))

            def _answer(self, found: Any) -> None:
                if found is None:  # as a process that is killed: no answer at all
                    self.close_connection = True
                    return
                status, content = found
                data = json.dumps(content).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            request_queue_size = 64
            allow_reuse_address = True

        self._server = Listener(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.dead.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def get(self, path: str) -> Any:
        if self.dead.is_set():
            return None
        self.told.append(path)
        return 200, {
            "/health": {},
            "/weight_info": {"weight_version": self.version},
            "/is_sleeping": {"is_sleeping": self.sleeping},
            "/v1/models": {"data": [{"id": "policy"}]},
        }[path]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        if self.dead.is_set():
            return None
        if path == "/inference/v1/generate":
            with self._lock:
                return self._generate(body)
        self.told.append(path)
        if path == "/collective_rpc" and not self.deaf:
            self.vlm = VLM.load(body["kwargs"]["weights_path"], setup=ModelSetup())
        elif path == "/update_weight_version":
            self.version = body["new_version"]
        elif path.startswith("/sleep"):
            if not self.sleeps:
                return 400, {"error": "Sleep mode is not supported on current platform."}
            self.sleeping = True
        elif path == "/wake_up?tags=kv_cache":
            self.sleeping = False
        return 200, {"success": True}

    def _generate(self, body: dict[str, Any]) -> Any:
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            self.dead.set()
        if self.dead.is_set() or self.vlm is None:
            return None
        assert not self.sleeping
        for part in body.get("content_parts", []):
            Image.open(io.BytesIO(base64.b64decode(part["url"].partition(",")[2]))).load()
        prompt = self._prompts[tuple(body["token_ids"])]
        asked = body["sampling_params"]
        sampling = Sampling(temperature=asked["temperature"], max_new_tokens=asked["max_tokens"], top_p=asked["top_p"])
        assert 0 <= asked["seed"] < 2**63
        ((one,),) = generate(self.vlm, [prompt], [[body["request_id"]]], sampling)
        self.asked.append(body["request_id"])
        content = [{"token_id": i, "logprob": p} for i, p in zip(one.token_ids, one.logprobs, strict=True)]
        choice = {
            "token_ids": list(one.token_ids),
            "logprobs": {"content": content},
            "weight_versions": [{"version": self.version}],
            "finish_reason": "length" if one.truncated else "stop",
        }
        seen = prompt.token_ids.tolist()
        return 200, {"prompt_token_ids": [token + self.shift for token in seen], "choices": [choice]}


@pytest.fixture
def known(toy_vlm, toy_prompts) -> dict[tuple[int, ...], Any]:
    """The prompts that the stand-in is asked, by their tokens with one placeholder a picture."""
    made = {}
    for prompt in toy_prompts:
        ids = prompt.token_ids.tolist()
        short = [t for i, t in enumerate(ids) if not (t == toy_vlm.image_id and i and ids[i - 1] == t)]
        made[tuple(short)] = prompt
    return made


@pytest.fixture
def fake(known) -> Iterator[Callable[..., FakeVllm]]:
    servers: list[FakeVllm] = []

    def start(port: int = 0, **state: Any) -> FakeVllm:
        servers.append(FakeVllm(known, port))
        for name, value in state.items():
            setattr(servers[-1], name, value)
        return servers[-1]

    yield start
    for server in servers:
        if server._thread.is_alive():
            server.close()


@pytest.fixture
def fake_python(tmp_path: Path, toy_vlm) -> Path:
    """A program in the place of vLLM's Python: it notes how it is started, and its server dies after two responses."""
    program = tmp_path / "python-of-vllm"
    program.write_text(_PROGRAM.format(folder=tmp_path, image=toy_vlm.image_id))
    program.chmod(0o755)
    return program


_PROGRAM = """#!/usr/bin/env python3
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

folder, given = Path("{folder}"), sys.argv[1:]
starts = folder / "starts.jsonl"
number = len(starts.read_text().splitlines()) if starts.exists() else 0
with starts.open("a") as file:
    file.write(json.dumps(given) + "\\n")
if "--enable-sleep-mode" in given:
    sys.exit("ValueError: Sleep mode is not supported on current platform.")
state = {{"version": "default", "responses": 0}}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{"weight_version": state["version"]}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/update_weight_version":
            state["version"] = body["new_version"]
        if self.path != "/inference/v1/generate":
            return self.answer({{"success": True}})
        key = body["request_id"]
        if number == 0 and key.startswith("a"):
            state["responses"] += 1
            if state["responses"] > 2:
                os.kill(os.getpid(), signal.SIGKILL)
        with (folder / "answered.txt").open("a") as file:
            file.write(key + "\\n")
        end = body["sampling_params"]["stop_token_ids"][0]
        seen = []
        for token in body["token_ids"]:
            seen += [token] * (16 if token == {image} else 1)
        choice = {{"token_ids": [end], "logprobs": {{"content": [{{"token_id": end, "logprob": -1.0}}]}}}}
        choice |= {{"weight_versions": [{{"version": state["version"]}}], "finish_reason": "stop"}}
        self.answer({{"prompt_token_ids": seen, "choices": [choice]}})

    def answer(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(given[given.index("--port") + 1])), Handler).serve_forever()
"""
