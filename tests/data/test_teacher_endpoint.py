"""A model behind an endpoint as the teacher, against a real server."""

import base64
import io
import json
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.data.teachers.base import unseen
from specs_lab.data.teachers.endpoint import EndpointTeacher
from specs_lab.data.workshop import Drawing, Workshop
from specs_lab.problems.base import make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Task

KEY = "sk-very/secret+key=="
HANG_S = 30
HOW = Drawing(temperature=0.7, max_new_tokens=5)
PROBLEMS = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"])


def ok(content: Any, **more: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"choices": [{"message": {"content": content}, **more}]}).encode()


def tasks(count: int = 3) -> list[Task]:
    problems = [make_problem("count", seed=1, index=index) for index in range(count)]
    return [Task(f"{one.id}/tags", "id", one, INSTRUCTIONS["tags"]) for one in problems]


def shop_of(seed: int = 0) -> Workshop:
    return Workshop(seed=seed, problems=PROBLEMS)


def teacher_at(server: Any, **options: Any) -> EndpointTeacher:
    return EndpointTeacher(**{"url": server.url, "model": "a/b", "timeout_s": HANG_S, "retries": 1, **options})


def text_of(asked: dict[str, Any]) -> str:
    return asked["messages"][0]["content"][-1]["text"]


def test_text_picture_and_how_to_sample_are_sent(serve, monkeypatch):
    monkeypatch.setenv("THE_KEY", KEY)
    server = serve(lambda _: ok(" said "))
    (task,) = tasks(1)
    teacher = teacher_at(server, api_key_env="THE_KEY", max_tokens=99)
    assert teacher.write([task], shop_of(), 1, HOW) == [["said"]]
    assert teacher.source == "a/b"
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("a/b", 0.7, 99)
    (message,) = body["messages"]
    picture, text = message["content"]
    assert (message["role"], text) == ("user", {"type": "text", "text": task.text})
    head, _, data = picture["image_url"]["url"].partition(",")
    assert (picture["type"], head) == ("image_url", "data:image/png;base64")
    sent = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert np.array_equal(np.asarray(sent), np.asarray(task.problem.image.convert("RGB")))


def test_each_response_is_a_request_with_a_seed_of_its_own(serve):
    server = serve(lambda asked: ok(f"{text_of(asked)}/{asked['seed']}"))
    asked = tasks()
    groups = teacher_at(server).write(asked, shop_of(), 4, HOW)
    assert len(server.requests) == 12
    assert [len(group) for group in groups] == [4, 4, 4]
    for task, group in zip(asked, groups, strict=True):
        assert all(text.startswith(task.text) for text in group)
    seeds = {body["seed"] for _, _, body in server.requests}
    assert len(seeds) == 12
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert teacher_at(server, max_concurrent=1).write(asked[::-1], shop_of(), 4, HOW) == groups[::-1]
    assert teacher_at(server).write(asked, shop_of(seed=1), 4, HOW) != groups


def test_no_seed_is_sent_where_servers_refuse_it(serve):
    server = serve(lambda _: ok("said"))
    teacher_at(server, send_seed=False).write(tasks(1), shop_of(), 1, HOW)
    assert "seed" not in server.requests[0][2]


def test_no_more_requests_at_a_time_than_allowed(serve):
    together = threading.Barrier(3, timeout=HANG_S)
    busy, most, lock = 0, 0, threading.Lock()

    def respond(_):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait()  # passes only once three are asked at the same time
        with lock:
            busy -= 1
        return ok("said")

    teacher_at(serve(respond), max_concurrent=3).write(tasks(), shop_of(), 3, HOW)
    assert most == 3


def test_what_was_cut_off_is_dropped_and_counted(serve):
    server = serve(lambda asked: ok("said", finish_reason="length" if asked["seed"] % 2 else "stop"))
    shop = shop_of()
    groups = teacher_at(server).write(tasks(), shop, 4, HOW)
    odd = sum(body["seed"] % 2 for _, _, body in server.requests)
    assert 0 < odd < 12
    assert sum(map(len, groups)) == 12 - odd
    assert shop.counts["cut/teacher"] == odd


def test_captions_and_replies_are_asked_for_beside_the_picture(serve):
    server = serve(lambda asked: ok(f"reply to {text_of(asked)}"))
    (task,) = tasks(1)
    assert teacher_at(server, caption_prompt="Say it.").caption([task], shop_of(), HOW) == ["reply to Say it."]
    question = shop_of().question(task, "critique", "Criticise.")
    assert teacher_at(server).reply([question], shop_of(), HOW) == ["reply to Criticise."]
    assert [len(body["messages"][0]["content"]) for _, _, body in server.requests] == [2, 2]


def test_a_caption_that_was_cut_off_is_empty(serve):
    server = serve(lambda _: ok("a red", finish_reason="length"))
    assert teacher_at(server).caption(tasks(1), shop_of(), HOW) == [""]


def test_unseen_means_without_the_picture(serve):
    server = serve(lambda _: ok("said"))
    (task,) = tasks(1)
    assert teacher_at(server).write_unseen([task], ["a red circle"], shop_of(), 1, HOW) == [["said"]]
    (content,) = server.requests[0][2]["messages"][0]["content"]
    assert content["type"] == "text"
    assert "a red circle" in content["text"]
    assert task.text in content["text"]
    assert unseen(task, "a red circle", "unseen", shop_of()).images == ()


def test_nothing_to_ask_asks_nothing(serve):
    server = serve(lambda _: ok("said"))
    assert teacher_at(server).write([], shop_of(), 4, HOW) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((401, b"no"), "export a valid key in the variable that teacher.api_key_env names"),
        ((404, b"no"), "teacher.model"),
        ((500, b"broken"), "status 500: broken (2 attempts)"),
        ((200, b"{}"), "sent no chat completion (2 attempts)"),
    ],
    ids=["key", "model", "server", "reply"],
)
def test_a_server_in_trouble_is_a_fault_and_no_empty_data(serve, reply, says):
    server = serve(lambda _: reply)
    with pytest.raises(UserError) as error:
        teacher_at(server, max_concurrent=1).write(tasks(), shop_of(), 200, HOW)
    (fault,) = error.value.faults
    assert fault.where == f"teacher at {server.url}"
    assert says in str(fault)
    assert len(server.requests) < 600  # the rest is not asked


def test_all_faults_are_reported_together(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    wrong = {
        "url": "ftp://x",
        "model": "???",
        "api_key_env": "NO_KEY",
        "max_concurrent": 0,
        "timeout_s": 0,
        "retries": -1,
        "max_response_bytes": 0,
        "max_tokens": 0,
    }
    with pytest.raises(InvalidOption) as error:
        EndpointTeacher(**wrong)
    assert [fault.where for fault in error.value.faults] == list(wrong)
