"""Two ranks, of which the second is lost or asked to stop; run by test_distributed.py. Usage: lost_rank.py <folder>.

Prints the exit codes of both by what happens, and leaves what they say in the folder.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from forked import exit_codes, start

from specs_lab.core.stopping import exit_on_sigterm, stopping_when_asked
from specs_lab.training.checkpoints import Checkpoints, Keeper
from specs_lab.training.distributed import RankMissing, meet
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.ranks import EXIT_OTHER_RANK, OtherRankFailed, joined

HOW = ("sleeps", "dies", "fails", "is asked to stop")


class _SlowDisk(Checkpoints):
    def _publish(self, draft, files):
        threading.Event().wait(0.5)
        super()._publish(draft, files)


def _lose(how):
    if how == "sleeps":
        threading.Event().wait()
    if how == "dies":
        sys.exit(9)
    if how == "fails":
        raise ValueError("the disk of rank 1 is full")


def _stop(number, folder):
    checkpoints = _SlowDisk(folder / "checkpoints", 1)
    exit_on_sigterm()
    with stopping_when_asked():
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            Keeper(checkpoints, 1e9, {}).after(7, lambda path: None if number else path.write_text("state"))
        finally:
            print(f"rank {number} leaves with the checkpoint of step {checkpoints.newest().step}", flush=True)


def work(how, folder):
    """What each of the two does."""
    try:
        with joined(TrainerOptions(strategy="ddp", devices=2, timeout_s=3 if how == "sleeps" else 200)) as number:
            meet("step 1")
            if how == "is asked to stop":
                _stop(number, folder)
            if number == 1:
                _lose(how)
            meet("step 2")
    except OtherRankFailed as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_OTHER_RANK)
    except RankMissing as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    both = {how: start(work, how, place, ranks=2, log=place / how) for how in HOW}
    codes = {how: exit_codes(processes) for how, processes in both.items()}
    print(json.dumps(codes))
