"""vLLM serves what we export, and says the same; the comparison with it can fail."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import tables, vllm_parity, vllm_server
from benchmarks.vllm_parity import compare, our_side, questions
from benchmarks.vllm_server import Answer, NoVLLM, Server, python_of_vllm

MISSING = f"{vllm_server.VARIABLE} is not set: it names the python of an environment with vLLM"


@pytest.fixture
def sides(toy_vlm):
    asked = questions(4)
    ours = our_side(toy_vlm, asked, max_tokens=8)
    theirs = [Answer(one.text, one.token_ids, tuple(one.prompt.token_ids.tolist())) for one in ours]
    return toy_vlm, asked, ours, theirs


def test_questions_are_of_all_families_and_have_different_names():
    asked = questions(60)
    assert len({question.name for question in asked}) == 60
    assert len({question.problem.family for question in asked}) == 12
    assert {question.problem.image.size for question in asked} == {(64, 64)}


def test_equal_sides_are_counted_as_equal(sides):
    found = compare(*sides)
    assert (found["same_text"], found["same_tokens"], found["same_prompt_tokens"], found["differing"]) == (4, 4, 4, [])


def test_what_differs_is_found_with_the_gap_between_the_logits(sides):
    vlm, asked, ours, theirs = sides
    other = (ours[1].token_ids[0] + 1) % 100
    theirs[1] = Answer("other", (ours[1].token_ids[0], other, *ours[1].token_ids[2:]), (1, 2))
    found = compare(vlm, asked, ours, theirs)
    assert (found["same_text"], found["same_tokens"], found["same_prompt_tokens"]) == (3, 3, 3)
    (line,) = found["differing"]
    assert line["vllm"] == "other"
    assert line["logit_gap"] > 0
    assert line["tie"] == (line["logit_gap"] < vllm_parity.TIE)


def test_a_near_equal_pair_of_logits_is_a_tie(sides, monkeypatch):
    vlm, asked, ours, theirs = sides
    theirs[0] = Answer("other", ((ours[0].token_ids[0] + 1) % 100,), theirs[0].prompt_ids)
    monkeypatch.setattr(vllm_parity, "TIE", 1e9)
    assert compare(vlm, asked, ours, theirs)["ties"] == 1
    theirs[0] = Answer("", (), theirs[0].prompt_ids)  # cut short: no tie whatever the logits
    assert compare(vlm, asked, ours, theirs)["ties"] == 0


@pytest.mark.parametrize(("given", "says"), [("", "is not set"), ("/none/bin/vllm", "there is no /none/bin/python")])
def test_without_vllm_it_is_said_what_to_set(monkeypatch, given, says):
    monkeypatch.setenv(vllm_server.VARIABLE, given)
    with pytest.raises(NoVLLM, match=says):
        python_of_vllm()


def test_the_command_of_an_environment_stands_for_its_python(monkeypatch, tmp_path):
    (tmp_path / "python").touch()
    monkeypatch.setenv(vllm_server.VARIABLE, str(tmp_path / "vllm"))
    assert python_of_vllm() == tmp_path / "python"


def _fake_python(folder: Path, code: str) -> Path:
    """Stands for an environment's Python; it runs a piece of code whatever it is told."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


def test_a_server_that_ends_at_once_is_reported_with_what_it_said(monkeypatch, tmp_path):
    fake = _fake_python(tmp_path, "import sys; sys.exit('no such model')")
    monkeypatch.setenv(vllm_server.VARIABLE, str(fake))
    with pytest.raises(RuntimeError, match="no such model"), Server(tmp_path, tmp_path / "log", length=8):
        pass


def test_a_server_and_its_children_are_killed_even_if_they_do_not_listen(monkeypatch, tmp_path):
    code = (
        "import os, signal, sys, subprocess, http.server\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n"
        "    def log_message(self, *_): pass\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "http.server.HTTPServer(('127.0.0.1', port), Handler).serve_forever()"
    )
    monkeypatch.setenv(vllm_server.VARIABLE, str(_fake_python(tmp_path, code)))
    monkeypatch.setattr(vllm_server, "_END_S", 0.2)
    server = Server(tmp_path, tmp_path / "log", length=8)

    def fail_in_between() -> None:
        with server:
            os.kill(int((tmp_path / "child").read_text()), 0)  # it is there
            raise KeyError("in between")

    with pytest.raises(KeyError, match="in between"):
        fail_in_between()
    assert server.ended
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(int((tmp_path / "child").read_text()))


def _wait_until_gone(process: int) -> None:
    """Asks for a process that nobody waits for until there is none, or it is dead and unburied."""
    for _ in range(10_000):
        os.kill(process, 0)
        if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            raise ProcessLookupError


def test_results_have_a_table():
    line = {"question": "count/1", "ours": "a", "vllm": "b", "logit_gap": 2e-6, "tie": True}
    results = {
        "kind": "vllm",
        "machine": {"cpu": "C", "python": "3", "versions": {"torch": "2"}},
        "vllm_versions": {"vllm": "0.32"},
        "settings": {"model": "small-0", "dtype": "float32", "max_tokens": 48, "at_once": 8},
        "stock_processor": {"class": "P", "questions": 3, "same_tokens": 3, "pixels_differ_by": 1e-7},
        **{"questions": 9, "same_text": 8, "same_tokens": 8, "same_prompt_tokens": 9, "ties": 1},
        **{"distinct_texts": 7, "prompt_tokens": 90, "generated_tokens": 50, "differing": [line]},
    }
    text = tables.table(results)
    assert "| `small-0`, float32 | 9 | 9 | **8** | 8 | 1 | 7 |" in text
    assert "- `count/1`: 'a' and 'b', logits 2.0e-06 apart" in text
    assert "`P` (with torchvision) makes the same tokens of 3 of 3 prompts" in text


@pytest.mark.vllm
@pytest.mark.skipif(not os.environ.get(vllm_server.VARIABLE), reason=MISSING)
def test_vllm_says_what_we_say(tmp_path):
    torch.set_num_threads(1)
    found = vllm_parity.run(60, tmp_path)
    assert found["questions"] == found["same_prompt_tokens"] == 60
    assert found["same_text"] + found["ties"] == 60, json.dumps(found["differing"], indent=1)
    assert found["distinct_texts"] > 40
    stock = found["stock_processor"]
    assert stock["class"] == "Qwen2_5_VLProcessor"
    assert stock["same_tokens"] == stock["questions"] == 12
    assert stock["pixels_differ_by"] < 1e-5
