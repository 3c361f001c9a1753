import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from specs_lab.cli.children import LOG_NAME, Command, run_side_by_side
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
        self.ended: dict[str, bool] = {}

    def job_started(self, name: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def job_event(self, name: str, event: Event) -> None:
        self.messages.append((name, event["text"]))

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


def test_a_signal_that_kills_a_job_is_its_exit_code(tmp_path: Path) -> None:
    code = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_side_by_side([_command(tmp_path, "job", code)], 1, Record())[0].exit_code == -9
