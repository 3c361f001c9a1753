"""Two ranks, of which the second is lost; run by test_distributed.py. Usage: lost_rank.py sleeps|dies|fails."""

import sys
import threading

from specs_lab.training.distributed import RankMissing, meet
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.ranks import EXIT_OTHER_RANK, OtherRankFailed, joined

if __name__ == "__main__":
    how = sys.argv[1]
    try:
        with joined(TrainerOptions(strategy="ddp", devices=2, timeout_s=3 if how == "sleeps" else 200)) as number:
            meet("step 1")
            if number == 1 and how == "sleeps":
                threading.Event().wait()
            if number == 1 and how == "dies":
                sys.stdout.flush()
                sys.exit(9)
            if number == 1 and how == "fails":
                raise ValueError("the disk of rank 1 is full")
            meet("step 2")
    except OtherRankFailed as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_OTHER_RANK)
    except RankMissing as error:
        print(error, file=sys.stderr)
        sys.exit(1)
