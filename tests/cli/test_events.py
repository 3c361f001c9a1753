import os
from collections.abc import Iterator

import pytest

from specs_lab.cli.events import EventReader, EventWriter
from specs_lab.core.progress import Progress


@pytest.fixture
def pipe() -> Iterator[tuple[EventReader, int]]:
    read_end, write_end = os.pipe()
    reader = EventReader(read_end)
    yield reader, write_end
    reader.close()


def test_events_cross_the_pipe_unchanged(pipe: tuple[EventReader, int]) -> None:
    reader, write_end = pipe
    sent: list[dict[str, object]] = []
    writer = EventWriter(write_end)

    def both(event: dict[str, object]) -> None:
        sent.append(event)
        writer(event)

    progress = Progress(both)
    with progress.task("zero: GRPO", 2) as advance:
        advance(1, note="reward 0.5 ±é")
    progress.message("line\nbreak")
    assert list(reader.read()) == sent
    assert len(sent) == 4
    os.close(write_end)


def test_reading_does_not_wait_and_half_a_line_does(pipe: tuple[EventReader, int]) -> None:
    reader, write_end = pipe
    assert list(reader.read()) == []
    os.write(write_end, b'{"event": "message", ')
    assert list(reader.read()) == []
    os.write(write_end, b'"text": "x"}\n')
    assert list(reader.read()) == [{"event": "message", "text": "x"}]
    os.close(write_end)
    assert list(reader.read()) == []
    assert reader.ended


def test_a_job_whose_sweep_has_gone_ends() -> None:
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    os.close(read_end)
    with pytest.raises(SystemExit):
        writer({"event": "message", "text": "x"})
    os.close(write_end)


def test_the_descriptor_is_not_handed_on(monkeypatch: pytest.MonkeyPatch, pipe: tuple[EventReader, int]) -> None:
    _, write_end = pipe
    os.set_inheritable(write_end, True)
    monkeypatch.setenv("SPECS_LAB_EVENTS_FD", str(write_end))
    writer = EventWriter.from_environment()
    assert writer is not None
    assert not os.get_inheritable(write_end)
    assert "SPECS_LAB_EVENTS_FD" not in os.environ
    assert EventWriter.from_environment() is None
    os.close(write_end)
