"""Progress is a stream of flat events that survives a trip through JSON, failures included."""

import json

import pytest

from specs_lab.core.progress import Event, Progress


def test_a_task_starts_advances_and_ends():
    events: list[Event] = []
    with Progress(events.append).task("train", 5) as advance:
        advance()
        advance(3, note="loss 0.1")
    assert events == [
        {"event": "start", "task": "train", "total": 5},
        {"event": "advance", "task": "train", "done": 1, "note": ""},
        {"event": "advance", "task": "train", "done": 4, "note": "loss 0.1"},
        {"event": "end", "task": "train"},
    ]
    assert [json.loads(json.dumps(event)) for event in events] == events


def test_a_failing_task_ends_and_the_failure_passes_through():
    events: list[Event] = []
    with pytest.raises(RuntimeError, match="out of memory"), Progress(events.append).task("train", 5):
        raise RuntimeError("out of memory")
    assert [event["event"] for event in events] == ["start", "end"]


def test_tasks_nest_and_count_apart():
    events: list[Event] = []
    progress = Progress(events.append)
    with progress.task("outer", 2) as outer, progress.task("inner", 2) as inner:
        inner(2)
        outer()
    assert [(e["task"], e["done"]) for e in events if e["event"] == "advance"] == [("inner", 2), ("outer", 1)]
    assert [e["task"] for e in events if e["event"] == "end"] == ["inner", "outer"]


def test_messages_pass_and_nobody_needs_to_listen(capsys: pytest.CaptureFixture[str]):
    events: list[Event] = []
    Progress(events.append).message("hello")
    assert events == [{"event": "message", "text": "hello"}]
    silent = Progress()
    silent.message("hello")
    with silent.task("train", 1) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
