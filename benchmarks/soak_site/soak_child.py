"""What a soak does inside a process that it will kill or hinder: nothing unless the environment asks for it.

Real processes get it by ``sitecustomize`` in this folder, forked ones by the zygote. It stands alone: it must not
import what it watches, nor anything that takes time.

    SOAK_DRAFT=<folder>      calls that change files below this folder are counted: it is the stage's draft
    SOAK_STARTED=<file>      gets the time, in monotonic seconds, of the first of them
    SOAK_CALLS=<file>        gets a line for each
    SOAK_KILL_AT=<n>         SIGKILL to the whole process group just before the n-th of them
    SOAK_CLOCK=<seconds>     the wall clock jumps by this much, forwards and back in turn, at each look
    SOAK_ADDRESS_SPACE=<MB>  so much may be mapped beside what is mapped when the stage starts
    SOAK_NAN_AT=<n>          the n-th forward pass of a stage that trains has a loss that is no number
"""

import os
import resource
import signal
import sys
import time

_CHANGES = frozenset(
    ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree")
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Calls:
    """An audit hook that counts changes below a folder."""

    def __init__(self, environment):
        self.draft = environment["SOAK_DRAFT"]
        self.started = environment.get("SOAK_STARTED")
        self.calls = environment.get("SOAK_CALLS")
        self.kill_at = int(environment.get("SOAK_KILL_AT", "0"))
        self.room = int(environment.get("SOAK_ADDRESS_SPACE", "0")) << 20
        self.count = 0
        self.busy = False  # what this hook does raises events, too

    def __call__(self, event, arguments):
        if event not in _CHANGES or self.busy:
            return
        path = _changed(event, arguments)
        if path is None or not path.startswith(self.draft):
            return
        self.busy = True
        try:
            self.count += 1
            if self.count == 1:
                self.first()
            if self.calls:
                _append(self.calls, f"{event} {path}\n")
            if self.count == self.kill_at:
                os.killpg(0, signal.SIGKILL)
        finally:
            self.busy = False

    def first(self):
        if self.started:
            _append(self.started, f"{time.monotonic()}\n")
        if self.room:
            with open("/proc/self/statm") as file:
                mapped = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (mapped + self.room, mapped + self.room))


def _changed(event, arguments):
    """The path that a call changes, or None."""
    path = arguments[0]
    if event == "open":
        flags = arguments[2]
        if not isinstance(path, (str, bytes)) or not (isinstance(flags, int) and flags & _WRITES):
            return None
    if isinstance(path, int):
        return None
    path = os.fsdecode(path)
    if not path.startswith("/"):
        folder = _folder_of(event, arguments)
        path = os.path.join(folder, path) if folder else os.path.abspath(path)
    return path


def _folder_of(event, arguments):
    """The folder that a relative path starts from, if the call names one by a descriptor."""
    place = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.rename": 2, "os.link": 2, "shutil.rmtree": 1}.get(event)
    if place is None or len(arguments) <= place:
        return None
    descriptor = arguments[place]
    if not isinstance(descriptor, int) or descriptor < 0:
        return None
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _append(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _jumping(clock, jump):
    """A clock that is wrong by ``jump`` at every other look."""
    looks = 0

    def now():
        nonlocal looks
        looks += 1
        return clock() + (jump if looks % 2 else -jump)

    return now


def _no_number_at(number):
    """Makes one loss of a training no number, through the class that all of them come from."""
    from specs_lab.objectives import terms

    normalised, calls = terms.Loss.normalised, 0

    def spoilt(self, counts):
        nonlocal calls
        calls += 1
        value = normalised(self, counts)
        return value * float("nan") if calls == number else value

    terms.Loss.normalised = spoilt


def install(environment=os.environ):
    """Does what the environment asks for; and hears SIGINT, which shells have background jobs ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "SOAK_CLOCK" in environment:
        time.time = _jumping(time.time, float(environment["SOAK_CLOCK"]))
    if "SOAK_NAN_AT" in environment:
        _no_number_at(int(environment["SOAK_NAN_AT"]))
    if "SOAK_DRAFT" in environment:
        sys.addaudithook(_Calls(environment))
