"""W&B without a network: stages neither fail nor hang, the run is kept in files, and somebody says so."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.tracking.loggers import require_loggers
from specs_lab.tracking.options.logger import LoggerOptions

KEY = "0123456789012345678901234567890123456789"
LIMIT_S = 300
FORKS = """
import contextlib, json, os, signal, sys
from pathlib import Path
import wandb
import specs_lab.tracking.wandb_runs  # imports Lightning and W&B, once for all stages
from specs_lab.core.errors import UserError
from specs_lab.stages.context import JobInfo
from specs_lab.tracking.loggers import finish_loggers, make_loggers
from specs_lab.tracking.options.logger import LoggerOptions

def log(folder, mode, stages, deadly):
    options = LoggerOptions(kinds=["wandb"], mode=mode, init_timeout_s=2, finish_timeout_s=2)
    told, steps = [], 0
    try:
        for stage in stages:
            loggers = make_loggers(options, JobInfo(folder=folder), stage, "rl", stage, folder, told.append)
            for step in range(6):
                if step == 3 and deadly:
                    os.kill(deadly, signal.SIGKILL)
                for logger in loggers:
                    logger.log_metrics({"train/loss": 0.5 + step}, step=step)
                steps += 1
            finish_loggers(loggers, failed=False)
    except UserError as error:
        told.append(f"UserError {error}")
    (folder / "found.json").write_text(json.dumps(
        {"told": told, "steps": steps, "reports": wandb.env.error_reporting_enabled()}
    ))

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.environ.update(asked["environment"])
        log(Path(asked["folder"]), asked["mode"], asked["stages"], asked["deadly"])
        sys.exit()
    with contextlib.suppress(PermissionError):
        os.setpgid(child, child)  # both do it: neither knows who is first
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """A process that has imported what a stage imports, and forks one process for each stage's logging."""

    def __init__(self) -> None:
        unwanted = ("WANDB_MODE", "WANDB_ERROR_REPORTING")
        environment = {k: v for k, v in os.environ.items() if k not in unwanted and not k.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, folder: Path, url: str, *, mode: str = "auto", stages: Sequence[str] = ("cold",), deadly: int = 0
    ) -> dict[str, Any]:
        """Logs in a process of its own, which must end well and in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "NETRC": str(folder / "none")}
        asked = {"folder": str(folder), "mode": mode, "stages": stages, "deadly": deadly, "environment": told}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        child = int(self._process.stdout.readline())
        watch = threading.Timer(LIMIT_S, os.killpg, (child, signal.SIGKILL))
        watch.start()
        try:
            assert self._process.stdout.readline().strip() == "0"
        finally:
            watch.cancel()
        return json.loads((folder / "found.json").read_text())

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted((folder / "logs" / "wandb").glob(f"{pattern}/*.wandb"))


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def resets() -> Iterator[str]:
    """A server that resets every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        hang_up = b"\1\0\0\0\0\0\0\0"

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hang_up)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("server", ["silent", "resets"])
def test_by_default_what_cannot_be_sent_is_kept_and_told(
    forks: Forks, tmp_path: Path, server: str, request: pytest.FixtureRequest
):
    found = forks.run(tmp_path, request.getfixturevalue(server), stages=("cold", "rl"))
    assert found["steps"] == 12
    assert not found["reports"]  # else the end of the process waits for a silent server to take them
    reached = [text for text in found["told"] if "cannot be reached" in text]
    assert len(reached) == 1  # the second stage does not wait for it again
    kept = [text for text in found["told"] if "wandb sync" in text]
    assert len(kept) == 2
    runs = files(tmp_path, "offline-run-*")
    assert len(runs) == 2
    assert all(b"train/loss" in path.read_bytes() for path in runs)
    assert KEY not in "".join(found["told"])


def test_who_asks_for_online_is_told_instead_of_fobbed_off(forks: Forks, tmp_path: Path):
    found = forks.run(tmp_path, "http://127.0.0.1:9", mode="online")
    assert found["steps"] == 0
    assert "W&B does not start" in found["told"][-1]
    assert not files(tmp_path, "offline-run-*")


def test_who_asks_for_online_is_told_before_work_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent: str):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    online = LoggerOptions(kinds=["wandb"], mode="online")
    with pytest.raises(UserError, match="nobody is logged in"):
        require_loggers(online)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(UserError, match="cannot be reached"):
        require_loggers(online)
    require_loggers(LoggerOptions(kinds=["wandb"], mode="offline"))
    require_loggers(LoggerOptions(kinds=["csv"], mode="online"))
    monkeypatch.setenv("WANDB_BASE_URL", silent)
    require_loggers(online)


SERVER = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lines = 0
    asked = []
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = {}
        if self.path.endswith("/graphql"):
            said = {"data": self.data(**json.loads(body))}
        elif self.path.endswith("/file_stream"):
            rows = json.loads(body).get("files", {}).get("wandb-history.jsonl")
            if rows:
                Handler.asked.append((rows["offset"], len(rows["content"])))
                Handler.lines = max(Handler.lines, rows["offset"] + len(rows["content"]))
        elif self.path == "/asked":
            said = Handler.asked
        text = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PUT = answer
    def data(self, query, variables=None, **_):
        name = {"name": "specs_lab", "entity": {"id": "e", "name": "me"}}
        counts = {"historyLineCount": Handler.lines, "eventsLineCount": 0, "logLineCount": 0}
        if "upsertBucket" in query:
            bucket = {"id": "b", "name": variables["name"], "displayName": "d", "config": "{}", **counts}
            bucket["project"] = {"id": "p", **name}
            return {"upsertBucket": {"bucket": bucket, "inserted": not Handler.lines}}
        if "RunResumeStatus" in query and Handler.lines:
            tails = {"historyTail": "[]", "eventsTail": "[]", "summaryMetrics": "{}", "config": "{}", "tags": []}
            bucket = {"name": variables["name"], **counts, **tails, "wandbConfig": "{}"}
            return {"model": {"id": "p", **name, "bucket": bucket}}
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}}
        return {"model": None, "serverInfo": {"features": []}}
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def wandb_server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """As much of W&B's server as a run needs, in a process that can be killed; its URL and its process."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port.isdigit(), "the server did not start"
    yield f"http://127.0.0.1:{port}", process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_run_whose_server_dies_goes_on_and_is_kept(forks: Forks, tmp_path: Path, wandb_server):
    url, process = wandb_server
    found = forks.run(tmp_path, url, deadly=process.pid)
    assert found["steps"] == 6
    assert "wandb sync" in found["told"][-1]
    (path,) = files(tmp_path, "run-*")
    assert path.read_bytes().count(b"train/loss") >= 6


def test_what_two_runs_of_a_stage_kept_is_sent_as_one_run(forks: Forks, tmp_path: Path, wandb_server):
    url, _ = wandb_server
    for _ in range(2):  # the second goes on where the first was interrupted
        assert forks.run(tmp_path, url, mode="offline")["told"] == []
    first, second = files(tmp_path, "offline-run-*")
    assert first.name == second.name  # one id
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--yes", str(first.parent), str(second.parent)],
        env={**os.environ, "WANDB_BASE_URL": url, "WANDB_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with urllib.request.urlopen(f"{url}/asked", timeout=LIMIT_S) as answer:
        sent = json.loads(answer.read())
    assert sum(count for _, count in sent) == 12
    assert max(offset + count for offset, count in sent) == 12  # the second half stands behind the first
