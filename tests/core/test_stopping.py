"""SIGTERM ends a process at once, or at its next safe point if it has one; a second SIGTERM always at once."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from specs_lab.core.stopping import asked_to_stop, exit_on_sigterm, listen_again, stopping_when_asked

exit_on_sigterm()
signal.signal(signal.SIGTERM, lambda *_: print("a library's", flush=True))
listen_again()

def send():
    os.kill(os.getpid(), signal.SIGTERM)

try:
    if sys.argv[1] == "at once":
        send()
    else:
        with stopping_when_asked():
            print(asked_to_stop(), flush=True)
            send()
            print(asked_to_stop(), flush=True)
            if sys.argv[1] == "twice":
                send()
        print("saved", flush=True)
        if sys.argv[1] == "later":
            send()
finally:
    print("tidied", flush=True)
"""


@pytest.mark.parametrize(
    ("how", "said", "code"),
    [
        ("at once", ["tidied"], 143),
        ("patient", ["False", "True", "saved", "tidied"], 0),
        ("twice", ["False", "True", "tidied"], 143),
        ("later", ["False", "True", "saved", "tidied"], 143),
    ],
)
def test_when_sigterm_ends_a_process(how, said, code):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == said
    assert done.returncode == code
    assert signal.SIGTERM + 128 == 143
