"""Grading in processes that can be killed: a pool of workers with limits of time and memory.

Symbolic mathematics hangs on inputs such as ``9^9^9^9^9`` or eats all memory, inside C functions that neither a thread
nor a signal handler can stop. So a comparison runs in a worker: a Python process of its own, asked over pipes, one JSON
object a line (see :mod:`specs_lab.rewards.isolation.worker_main`), which is killed when it takes too long and replaced
for the next item. Workers are plain subprocesses, so a pool works from threads, in daemonic processes (a DataLoader's
workers), in ranks of distributed training, in notebooks, and in scripts without a main guard.

An interrupt (or whatever a signal handler raises) can end a caller at nearly any point, and must neither lose a worker
nor lend it twice. So callers wait outside of locks, give workers back without taking one (each step is atomic under the
GIL), and look again every second. ``threading.Condition`` would not do: interrupted, it may leave its lock broken.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import queue
import select
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from specs_lab.rewards.isolation.worker_process import Reply, Worker, WorkerSettings

__all__ = ["PoolStatistics", "Reply", "WorkerPool", "shared_pool"]

SHARED_HANDLER = "specs_lab.rewards.algebra.mathematics:handle"
"""What the shared pool's workers run."""

_LONGEST_WAIT_S = 60.0
_LOOK_AGAIN_S = 1.0

_LOCK = threading.RLock()
"""Held while a worker is started, while the process forks, and while the list of pools changes."""


@dataclass(frozen=True)
class PoolStatistics:
    """Counts since the pool was made, or since this process was forked.

    Attributes:
        asked: Requests that were replied to, whatever the reply.
        timed_out: Of these, the ones that took too long.
        out_of_memory: Of these, the ones that needed too much memory.
        crashed: Of these, the ones that ended their worker or made the handler raise.
        started: Worker processes that were started.
        recycled: Workers that were replaced after many items, or because they kept much memory.
    """

    asked: int
    timed_out: int
    out_of_memory: int
    crashed: int
    started: int
    recycled: int


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()
_SHARED: WorkerPool | None = None
_EXITING = False


class WorkerPool:
    """Worker processes that apply one function to requests, each within limits.

    Workers are started when they are needed. A process that is forked from this one gets workers of its own from the
    same pool object.

    Args:
        handler: ``module:function``; the function takes and returns a dict of JSON data. A worker finds the module as
            any Python process does (``PYTHONPATH`` counts, this process's ``sys.path`` and current folder do not).
        size: The most workers at once; by default 4, or as many as there are usable cores if these are fewer.
        time_limit_s: The most seconds for one request, start-up not counted. What takes longer is killed.
        memory_limit_mb: The most MiB of address space that a worker may use beyond what it uses once the handler is
            imported. Only Linux enforces it.
        recycle_after: After how many requests a worker is replaced. It is also replaced once it keeps a quarter of the
            memory limit, so that every request has at least the other three quarters.
        start_limit_s: The most seconds for a worker's start.

    Raises:
        ValueError: If an argument makes no sense.
    """

    def __init__(
        self,
        handler: str,
        *,
        size: int | None = None,
        time_limit_s: float = 3.0,
        memory_limit_mb: int = 1024,
        recycle_after: int = 2000,
        start_limit_s: float = 120.0,
    ) -> None:
        module, _, function = handler.partition(":")
        if not (module and function):
            raise ValueError(f"'{handler}' is no handler: write 'module:function'")
        self._size = min(4, _usable_cores()) if size is None else size
        numbers = (self._size, time_limit_s, memory_limit_mb, recycle_after, start_limit_s)
        if not all(math.isfinite(number) and number > 0 for number in numbers):
            raise ValueError("size, limits and recycle_after must be positive and finite")
        self._settings = WorkerSettings(handler, time_limit_s, memory_limit_mb, start_limit_s)
        self._recycle_after = recycle_after
        self._closed = False
        self._reset()
        with _LOCK:
            _POOLS.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._line: deque[queue.SimpleQueue[None]] = deque()  # the callers that wait for a worker
        self._counts: Counter[str] = Counter()

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """Has a worker handle a request; waits for a free worker, then for the reply. Any thread may call this.

        Raises:
            RuntimeError: If no worker can be started (the message says why) or none lives, or the pool is closed.
            TypeError: If the request is no JSON data.
            ValueError: If it refers to itself.
        """
        return self.ask_many([request])[0]

    def ask_many(self, requests: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """As :meth:`ask` for several requests, spread over the workers; the replies are in the requests' order."""
        lines = [json.dumps(dict(request)).encode() + b"\n" for request in requests]
        todo, replies = deque(range(len(lines))), dict[int, Reply]()
        held: list[Worker] = []
        lost = 0
        try:
            while len(replies) < len(lines):
                self._staff(held, len(todo))
                for worker in list(held):
                    if worker.ready and worker.item is None and todo:
                        if worker.stirs():  # it died since it was last used: no fault of the next item
                            lost += 1
                            self._release(held, [worker], unusable=True)
                        else:
                            worker.send(todo[0], lines[todo.popleft()])
                if lost > 2 * self._size:  # more than can have been idle
                    raise RuntimeError(f"workers for '{self._settings.handler}' die before they are asked anything")
                self._release(held, [worker for worker in held if worker.item is None and not todo])
                _wait(held)
                for worker in list(held):
                    reply = self._step(worker)
                    if reply is not None:
                        lost = 0
                        replies[cast(int, worker.item)] = reply
                        self._settle(held, worker, reply)
        finally:
            self._release(held, held)
        return [replies[index] for index in range(len(lines))]

    @property
    def statistics(self) -> PoolStatistics:
        """What has happened so far."""
        with self._lock:
            counts = dict(self._counts)
        names = ("asked", "timed out", "out of memory", "crashed", "started", "recycled")
        return PoolStatistics(**{name.replace(" ", "_"): counts.get(name, 0) for name in names})

    @property
    def closed(self) -> bool:
        """Whether the pool was closed."""
        return self._closed

    def close(self) -> None:
        """Kills all workers; callers that wait for one get a RuntimeError. Closing again does nothing."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()  # no more: its caller may be reading its pipes just now
        self._end_idle()
        for place in tuple(self._line):
            place.put(None)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            if _EXITING and threading.current_thread().daemon:
                raise SystemExit  # the interpreter is about to end this thread: without a traceback, as it does
            raise RuntimeError("the worker pool is closed")

    def _step(self, worker: Worker) -> Reply | None:
        """One step of a worker; closing the pool kills workers, which is neither a reply nor a failed start."""
        try:
            reply = worker.step()
        except RuntimeError:
            self._check_open()
            raise
        if reply is not None:
            self._check_open()
        return reply

    def _staff(self, held: list[Worker], waiting: int) -> None:
        """Gets a caller the workers it can use: waits for the first one, takes what there is beyond it."""
        busy = sum(worker.item is not None for worker in held)
        while len(held) < min(self._size, busy + waiting) and self._take(held):
            pass

    def _take(self, held: list[Worker]) -> bool:
        """Adds a worker to ``held``; a caller that has none waits in line for it. False if there is none to spare."""
        must, place = not held, queue.SimpleQueue[None]()
        try:
            if must:
                self._line.append(place)
            while True:
                with self._lock:
                    if self._hand_out(held, place):
                        return True
                if not must:
                    return False
                with contextlib.suppress(queue.Empty):
                    place.get(timeout=_LOOK_AGAIN_S)
        finally:
            if place in self._line:
                self._line.remove(place)
                self._wake()

    def _hand_out(self, held: list[Worker], place: queue.SimpleQueue[None]) -> bool:
        """Adds an idle worker to ``held``, or else a new one, if it is this caller's turn and there is one."""
        self._check_open()
        if self._line and self._line[0] is not place:
            return False
        if self._idle:
            worker = max(self._idle, key=lambda worker: worker.ready)
            index = self._idle.index(worker)
            # No call in these two lines, or an interrupt could come in between.
            held += [worker]
            del self._idle[index]
            return True
        if len(self._workers) >= self._size:
            return False
        with _LOCK:
            worker = Worker(self._settings)
            held += [worker]
            self._workers |= {worker}
        self._counts["started"] += 1
        return True

    def _settle(self, held: list[Worker], worker: Worker, reply: Reply) -> None:
        """Counts a reply, and lets the worker go if it is spent, or if others wait for one."""
        worker.item = None
        spent = worker.usable and (worker.worn or worker.items >= self._recycle_after)
        with self._lock:
            self._counts["asked"] += 1
            self._counts[reply.status] += 1
            self._counts["recycled"] += spent
            wanted = bool(self._line)
        if spent or wanted or not worker.usable:
            self._release(held, [worker], unusable=spent)

    def _release(self, held: list[Worker], leaving: list[Worker], unusable: bool = False) -> None:
        """Takes workers from a caller: those fit for another request become idle, the others are ended."""
        if not leaving:
            return
        fit = [worker for worker in leaving if worker.usable and worker.item is None and not unusable]
        unfit = {worker for worker in leaving if worker not in fit}
        staying = [worker for worker in held if worker not in leaving]
        try:
            for worker in unfit:
                worker.end()
        finally:  # No call in these three lines, or an interrupt could come in between. No lock: it could wait there.
            self._workers -= unfit
            held[:] = staying
            self._idle += fit
        self._wake()
        if self._closed:
            self._end_idle()

    def _wake(self) -> None:
        """Has the first caller in line look whether there is a worker."""
        for place in tuple(self._line)[:1]:
            place.put(None)

    def _end_idle(self) -> None:
        """Ends the idle workers of a closed pool."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                worker.end()
                self._workers.discard(worker)

    def _forget_parents_workers(self) -> None:
        """Begins anew in a forked process: neither the workers nor the locks are its own."""
        for worker in self._workers:
            worker.forget()
        self._reset()


def _wait(held: Sequence[Worker]) -> None:
    """Waits until one of the workers can go on, or the first deadline has passed."""
    poll = select.poll()
    for worker in held:
        for descriptor, events in worker.events().items():
            poll.register(descriptor, events)
    remaining_s = min((worker.deadline for worker in held), default=0.0) - time.monotonic()
    poll.poll(math.ceil(1000 * min(max(remaining_s, 0.0), _LONGEST_WAIT_S)))


def shared_pool() -> WorkerPool:
    """This process's pool for grading mathematics; made on first use, closed at exit."""
    global _SHARED
    with _LOCK:
        if _SHARED is None or _SHARED.closed:
            _SHARED = WorkerPool(SHARED_HANDLER)
        return _SHARED


def _after_fork_in_child() -> None:
    for pool in list(_POOLS):
        pool._forget_parents_workers()
    _LOCK.release()


def _close_all() -> None:
    global _EXITING
    _EXITING = True
    for pool in list(_POOLS):
        pool.close()


# A process forked while another thread starts a worker would keep ends of the new pipes open: the thread would then
# wait for an end of file that does not come. So forks wait for starts, which take milliseconds.
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork_in_child)
atexit.register(_close_all)
