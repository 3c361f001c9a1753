"""Starts ranks from a script that has imported everything: importing takes longer than what they do."""

import os
import socket
from multiprocessing import get_context


def start(work, *arguments, ranks, log=None):
    """Runs a function in that many processes at once, as torchrun would; with one, as nobody would.

    With ``log``, what they print goes into files of that name and their number. Returns the processes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = [
        get_context("fork").Process(target=_be, args=(rank, ranks, port, log, work, arguments)) for rank in range(ranks)
    ]
    for process in made:
        process.start()
    return made


def exit_codes(processes):
    """Of processes, when all have ended."""
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _be(rank, ranks, port, log, work, arguments):
    if log is not None:
        file = os.open(f"{log}.{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
    if ranks > 1:
        who = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in {**who, **where}.items()})
    work(*arguments)
