import os
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from specs_lab.cli.children import LOG_NAME, Command, Relay, run_side_by_side
from specs_lab.cli.room import Needs, Room
from specs_lab.core.progress import Event

_REPORT = """
import json, os, sys, time
def report(text):
    os.write(int(os.environ["SPECS_LAB_EVENTS_FD"]), (json.dumps({"event": "message", "text": text}) + "\\n").encode())
"""


class Record:
    """Keeps what it is told; ``at_event`` is called for each event."""

    def __init__(self) -> None:
        self.running = 0
        self.most_running = 0
        self.messages: list[tuple[str, str]] = []
        self.tasks: list[tuple[str, str]] = []
        self.ended: dict[str, bool] = {}

    def job_started(self, name: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def job_event(self, name: str, event: Event) -> None:
        if event["event"] == "message":
            self.messages.append((name, event["text"]))
        else:
            self.tasks.append((event["event"], event["task"]))

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        self.running -= 1
        self.ended[name] = completed


def _command(folder: Path, name: str, code: str, **environment: str) -> Command:
    return Command(name, folder / name, [sys.executable, "-c", _REPORT + textwrap.dedent(code)], environment)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_jobs_run_though_one_fails(tmp_path: Path) -> None:
    record = Record()
    commands = [
        _command(tmp_path, "good", "report('fine'); print('to the log')"),
        _command(tmp_path, "bad", "print('why it failed', file=sys.stderr); sys.exit(3)"),
        _command(tmp_path, "later", "report(os.environ['ANSWER'])", ANSWER="42"),
    ]
    outcomes = run_side_by_side(commands, 1, record)
    assert [outcome.exit_code for outcome in outcomes] == [0, 3, 0]
    assert record.ended == {"good": True, "bad": False, "later": True}
    assert record.messages == [("good", "fine"), ("later", "42")]
    assert outcomes[1].last_lines() == ["why it failed"]
    assert (tmp_path / "good" / LOG_NAME).read_text() == "to the log\n"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_more_jobs_than_allowed_run_at_a_time(tmp_path: Path, n_jobs: int) -> None:
    record = Record()
    outcomes = run_side_by_side([_command(tmp_path, str(i), "time.sleep(0.1)") for i in range(4)], n_jobs, record)
    assert [outcome.command.name for outcome in outcomes] == ["0", "1", "2", "3"]
    assert record.most_running == n_jobs


def test_events_of_a_job_that_ends_at_once_are_not_lost(tmp_path: Path) -> None:
    record = Record()
    run_side_by_side([_command(tmp_path, "job", "[report(str(i)) for i in range(500)]")], 1, record)
    assert [text for _, text in record.messages] == [str(i) for i in range(500)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_sweep_ends_its_jobs(tmp_path: Path, error: type[BaseException]) -> None:
    class Interrupt(Record):
        def job_event(self, name: str, event: Event) -> None:
            super().job_event(name, event)
            raise error

    record = Interrupt()
    code = """
    import signal
    def tidy_up(*_):
        open('tidied', 'w').close()
        sys.exit(1)
    signal.signal(signal.SIGTERM, tidy_up)
    report(str(os.getpid()))
    time.sleep(60)
    """
    command = _command(tmp_path, "job", f"import os; os.chdir({str(tmp_path)!r})")
    command = Command(
        command.name, command.folder, [*command.arguments[:-1], command.arguments[-1] + textwrap.dedent(code)], {}
    )
    start = time.monotonic()
    with pytest.raises(error):
        run_side_by_side([command], 1, record)
    assert time.monotonic() - start < 30
    assert not _is_running(int(record.messages[0][1]))
    assert (tmp_path / "tidied").exists()


_UNDER_WAY = """
os.write(int(os.environ["SPECS_LAB_EVENTS_FD"]), b'{"event": "start", "task": "work", "total": 1}\\n')
"""


def test_a_job_that_is_killed_is_run_once_more_after_the_others_and_alone(tmp_path: Path) -> None:
    killed = (
        _UNDER_WAY
        + """
import pathlib, signal
mark = pathlib.Path(os.environ["MARK"])
if not mark.exists():
    mark.write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
report("again")
"""
    )
    record = Record()
    first = _command(tmp_path, "killed", killed, MARK=str(tmp_path / "mark"))
    outcomes = run_side_by_side([first, _command(tmp_path, "other", "report('other')")], 2, record)
    assert [outcome.exit_code for outcome in outcomes] == [0, 0]
    assert [(one.exit_code, one.alone) for one in outcomes[0].attempts] == [(-9, False), (0, True)]
    assert outcomes[1].starts == 1
    assert record.messages[-1] == ("killed", "again")
    assert record.ended == {"killed": True, "other": True}
    assert record.tasks == [("start", "work"), ("end", "work"), ("start", "work")]  # what was left open was ended


def test_what_an_attempt_that_was_given_up_still_says_of_its_tasks_is_passed_over() -> None:
    record = Record()
    relay = Relay("job", record)
    relay({"event": "start", "task": "work", "total": 2})
    relay.start_over()
    relay({"event": "advance", "task": "work", "done": 1, "note": ""})
    relay({"event": "end", "task": "work"})
    relay({"event": "message", "text": "said"})
    assert record.tasks == [("start", "work"), ("end", "work")]
    assert record.messages == [("job", "said")]


def test_a_job_that_is_killed_twice_has_failed(tmp_path: Path) -> None:
    record = Record()
    code = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    outcome = run_side_by_side([_command(tmp_path, "job", code)], 1, record)[0]
    assert (outcome.exit_code, outcome.starts) == (-9, 2)
    assert record.ended == {"job": False}


def test_a_job_waits_until_there_is_room_for_what_it_needs(tmp_path: Path) -> None:
    record = Record()
    commands = [
        replace(_command(tmp_path, str(number), "time.sleep(0.1)"), needs=Needs(memory=60 << 30)) for number in range(3)
    ]
    outcomes = run_side_by_side(commands, 3, record, Room(100 << 30))
    assert record.most_running == 1
    assert [outcome.exit_code for outcome in outcomes] == [0, 0, 0]


def test_jobs_side_by_side_have_gpus_of_their_own(tmp_path: Path) -> None:
    commands = [
        replace(
            _command(tmp_path, str(number), "report(os.environ['CUDA_VISIBLE_DEVICES'])"),
            needs=Needs(on_gpu=True, processes=2),
        )
        for number in range(3)
    ]
    record = Record()
    outcomes = run_side_by_side(commands, 3, record, Room(limited=False, gpus=["0", "1", "5", "7"]))
    given = {name: set(text.split(",")) for name, text in record.messages}
    assert given["0"] | given["1"] == {"0", "1", "5", "7"}
    assert given["2"] in (given["0"], given["1"])  # the pair of the one that ended first
    assert [len(outcome.attempts[0].gpus) for outcome in outcomes] == [2, 2, 2]


def test_a_job_that_will_not_end_is_killed_after_its_grace(tmp_path: Path) -> None:
    class Interrupt(Record):
        def job_event(self, name: str, event: Event) -> None:
            super().job_event(name, event)
            raise KeyboardInterrupt

    record = Interrupt()
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); report(str(os.getpid())); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([_command(tmp_path, "job", code)], 1, record, grace_s=0.5)
    assert not _is_running(int(record.messages[0][1]))


def test_a_job_with_much_to_say_at_its_end_is_heard(tmp_path: Path) -> None:
    """A pipe takes 64 KiB: who writes more to a sweep that does not read would never get to its end."""

    class Interrupt(Record):
        def job_event(self, name: str, event: Event) -> None:
            super().job_event(name, event)
            if len(self.messages) == 1:
                raise KeyboardInterrupt

    code = f"""
    import signal
    def tidy_up(*_):
        for _ in range(5000):
            report("x" * 60)
        open({str(tmp_path / "tidied")!r}, "w").close()
        sys.exit(1)
    signal.signal(signal.SIGTERM, tidy_up)
    report("here")
    time.sleep(600)
    """
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([_command(tmp_path, "job", code)], 1, Interrupt(), grace_s=60)
    assert (tmp_path / "tidied").exists()
