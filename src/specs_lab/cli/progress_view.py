"""Shows the progress of jobs: moving bars on a terminal; elsewhere lines of what is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from specs_lab.core.progress import Event, Sink


class ProgressView(AbstractContextManager["ProgressView"], Protocol):
    """Shows what jobs report, between ``__enter__`` and ``__exit__``."""

    def job_started(self, name: str) -> None:
        """A job runs."""
        ...

    def job_event(self, name: str, event: Event) -> None:
        """A job reports progress; see :class:`specs_lab.core.progress.Progress` for the events."""
        ...

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        """A job has ended."""
        ...


def progress_view(console: Console, n_jobs: int) -> ProgressView:
    """The view that suits the console.

    Args:
        console: Where to show it.
        n_jobs: Jobs in all; with one, its name is not shown.
    """
    return TerminalView(console, n_jobs) if console.is_terminal else LinesView(console, n_jobs)


def sink_of(view: ProgressView, name: str) -> Sink:
    """A sink that shows events as those of one job."""
    return lambda event: view.job_event(name, event)


def duration(seconds: float) -> str:
    """A length of time for people: ``8.2 s``, ``75 s`` or ``12 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


class LinesView:
    """One line per finished task, message and job; a task that takes long also says now and then how far it is.

    Args:
        console: Where to print.
        n_jobs: Jobs in all.
        seconds_between: Least time between two lines of one task.
        clock: The time in seconds.
    """

    def __init__(
        self,
        console: Console,
        n_jobs: int,
        *,
        seconds_between: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._n_jobs = n_jobs
        self._seconds_between = seconds_between
        self._clock = clock
        self._ended = 0
        self._tasks: dict[tuple[str, str], _OpenTask] = {}

    def __enter__(self) -> LinesView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.clear()

    def job_started(self, name: str) -> None:
        """Says that a job runs."""
        if self._n_jobs > 1:
            self._print(name, "started")

    def job_event(self, name: str, event: Event) -> None:
        """Prints messages and finished tasks, and tasks that have said nothing for long."""
        match event["event"]:
            case "message":
                self._print(name, event["text"])
            case "start":
                self._tasks[name, event["task"]] = _OpenTask(event["total"], self._clock)
            case "advance":
                task = self._tasks[name, event["task"]]
                task.done, task.note = event["done"], event["note"]
                # The last unit leaves it to the end of the task to say so.
                if task.done < task.total and task.silent_for() >= self._seconds_between:
                    self._print(name, f"{event['task']}: {task}")
                    task.said()
            case "end":
                self._print(name, f"{event['task']}: {self._tasks.pop((name, event['task']))}")
            case unknown:
                raise ValueError(f"there is no progress event '{unknown}'")

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        """Says how a job ended."""
        self._ended += 1
        how = "completed" if completed else "FAILED"
        self._print(name, f"{how} after {duration(seconds)} ({self._ended} of {self._n_jobs})")

    def _print(self, name: str, text: str) -> None:
        line = text if self._n_jobs == 1 else f"{name} | {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _OpenTask:
    """What a line about a task says."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.total = total
        self.done = 0
        self.note = ""
        self._clock = clock
        self._started = self._last_line = clock()

    def silent_for(self) -> float:
        """Seconds since its last line, or since it was started."""
        return self._clock() - self._last_line

    def said(self) -> None:
        """A line about it was printed."""
        self._last_line = self._clock()

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.done} of {self.total} in {duration(self._clock() - self._started)}{note}"


class TerminalView:
    """Bars: the sweep's, and for each running job one for every open task, the outer ones above the inner ones.

    Args:
        console: A terminal.
        n_jobs: Jobs in all.
    """

    def __init__(self, console: Console, n_jobs: int) -> None:
        self._n_jobs = n_jobs
        self._sweep = _bars(console)
        self._sweep_task = self._sweep.add_task("sweep", total=n_jobs, note="", visible=n_jobs > 1)
        self._jobs: dict[str, _JobBars] = {}
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def job_started(self, name: str) -> None:
        """Adds the job's bars."""
        self._jobs[name] = _JobBars(self._live.console, name if self._n_jobs > 1 else "", self._say)

    def job_event(self, name: str, event: Event) -> None:
        """Moves the job's bars."""
        self._jobs[name].show(event)

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        """Replaces the job's bars by a line."""
        del self._jobs[name]
        self._sweep.advance(self._sweep_task)
        if self._n_jobs > 1:
            mark = "[green]completed[/]" if completed else "[red]FAILED[/]"
            self._say(f"{escape(name)}  {mark} after {duration(seconds)}")

    def _say(self, markup: str) -> None:
        self._live.console.print(markup, highlight=False)

    def _render(self) -> Group:
        return Group(*(job.bars for job in list(self._jobs.values())), self._sweep)


class _JobBars:
    """The open tasks of one job."""

    def __init__(self, console: Console, name: str, say: Callable[[str], None]) -> None:
        self.bars = _bars(console)
        self._name = escape(name)
        self._say = say
        self._open: dict[str, TaskID] = {}
        if name:
            self.bars.add_task(self._name, total=None, note="")

    def show(self, event: Event) -> None:
        """Moves the bars as an event says."""
        match event["event"]:
            case "message":
                self._say(f"{self._name}  {escape(event['text'])}" if self._name else escape(event["text"]))
            case "start":
                indent = "  " * (len(self._open) + bool(self._name))
                label = indent + escape(event["task"])
                self._open[event["task"]] = self.bars.add_task(label, total=event["total"], note="")
            case "advance":
                note = escape(event["note"])
                self.bars.update(self._open[event["task"]], completed=event["done"], note=note)
            case "end":
                self.bars.remove_task(self._open.pop(event["task"]))
            case unknown:
                raise ValueError(f"there is no progress event '{unknown}'")


def _bars(console: Console) -> Progress:
    """Rows of bars; shown by the view's own Live, never started themselves."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
        auto_refresh=False,
    )
