import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from specs_lab.cli.orphans import birth_of

SWEEP = """
import sys
from pathlib import Path
from specs_lab.cli.children import Command, run_side_by_side
class Nobody:
    def job_started(self, name): pass
    def job_event(self, name, event): print(event["text"], flush=True)
    def job_ended(self, name, completed, seconds): pass
job = Command("job", Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]], {})
run_side_by_side([job], 1, Nobody(), grace_s=float(sys.argv[3]))
"""
"""A sweep of one job, which prints what the job says."""
JOB = """
import json, os, signal, sys, time
from specs_lab.cli.orphans import end_with_parent
{before}
end_with_parent()
said = json.dumps({{"event": "message", "text": str(os.getpid())}})
os.write(int(os.environ["SPECS_LAB_EVENTS_FD"]), said.encode() + b"\\n")
while True:
    time.sleep(1)
"""


def _until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def _killed_sweep(folder: Path, before: str, grace_s: float) -> int:
    """Kills a sweep whose job runs; the job's process."""
    command = [sys.executable, "-c", SWEEP, str(folder), JOB.format(before=before), str(grace_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout is not None
        job = int(sweep.stdout.readline())
        sweep.kill()
    return job


def test_a_job_whose_sweep_was_killed_is_asked_to_end(tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    before = f"""
def tidy_up(*_):
    open({str(tidied)!r}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, tidy_up)
"""
    job = _killed_sweep(tmp_path, before, grace_s=60)
    assert _until(lambda: birth_of(job) == "")
    assert tidied.exists()


def test_a_job_whose_sweep_was_killed_ends_though_it_does_not_listen(tmp_path: Path) -> None:
    job = _killed_sweep(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", grace_s=0.1)
    assert _until(lambda: birth_of(job) == "")


def test_a_process_is_told_from_a_later_one_by_its_birth() -> None:
    own = birth_of(os.getpid())
    assert own
    assert birth_of(os.getpid()) == own
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert birth_of(other.pid) not in ("", own)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert birth_of(other.pid) == ""
