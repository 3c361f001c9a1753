import os
import subprocess
import sys
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


JOB = """
import os, signal, sys
from specs_lab.cli.events import EventWriter
from specs_lab.core.stopping import asked_to_stop, exit_on_sigterm, stopping_when_asked

exit_on_sigterm()
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
read_end, write_end = os.pipe()
writer = EventWriter(write_end)
os.close(read_end)
event = {"event": "message", "text": "x"}
if sys.argv[1] == "training":
    with stopping_when_asked():
        writer(event)
        writer(event)
        print("saves" if asked_to_stop() else "trains on")
else:
    writer(event)
    print("goes on")
"""


@pytest.mark.parametrize(("job", "said", "code"), [("training", "saves\n", 0), ("else", "", 143)])
def test_a_job_whose_sweep_has_gone_ends_as_if_asked_to(job: str, said: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", JOB, job], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == (said, code), done.stderr


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
