import io

import pytest
from rich.console import Console

from specs_lab.cli.progress_view import LinesView, TerminalView, duration, progress_view, sink_of
from specs_lab.core.progress import Progress


def _console(terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=200), text


def test_the_view_suits_the_console() -> None:
    assert isinstance(progress_view(_console(True)[0], 1), TerminalView)
    assert isinstance(progress_view(_console(False)[0], 1), LinesView)


def _study(progress: Progress) -> None:
    with progress.task("study", 2) as stage_done, progress.task("zero [1]", 30) as advance:
        for step in range(30):
            advance(1, note=f"reward {step}")
        stage_done()
    progress.message("mixture [id]: made")


def test_without_a_terminal_each_finished_thing_is_one_line() -> None:
    console, text = _console(False)
    with progress_view(console, 1) as view:
        view.job_started("job")
        _study(Progress(sink_of(view, "job")))
    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("zero [1]: 30 of 30 in ")
    assert lines[0].endswith("; reward 29")
    assert lines[1].startswith("study: 1 of 2 in ")
    assert lines[2] == "mixture [id]: made"


def test_without_a_terminal_a_long_task_says_now_and_then_how_far_it_is() -> None:
    console, text = _console(False)
    now = 0.0
    view = LinesView(console, 1, seconds_between=60, clock=lambda: now)
    with Progress(sink_of(view, "job")).task("zero [1]", 27) as advance:
        for _ in range(27):
            now += 7.0
            advance(1, note="reward 1")
    assert text.getvalue().splitlines() == [
        "zero [1]: 9 of 27 in 63 s; reward 1",
        "zero [1]: 18 of 27 in 126 s; reward 1",
        "zero [1]: 27 of 27 in 189 s; reward 1",
    ]


def test_lines_of_a_sweep_name_their_job() -> None:
    console, text = _console(False)
    with progress_view(console, 2) as view:
        for name, completed in (("sft seed=0", True), ("dpo seed=0", False)):
            view.job_started(name)
            Progress(sink_of(view, name)).message("hello")
            view.job_ended(name, completed, 75.0)
    assert text.getvalue().splitlines() == [
        "sft seed=0 | started",
        "sft seed=0 | hello",
        "sft seed=0 | completed after 75 s (1 of 2)",
        "dpo seed=0 | started",
        "dpo seed=0 | hello",
        "dpo seed=0 | FAILED after 75 s (2 of 2)",
    ]


def test_the_terminal_shows_sweep_job_stage_and_step() -> None:
    console, text = _console(True)
    with TerminalView(console, 2) as view:
        view.job_started("sft seed=0")
        progress = Progress(sink_of(view, "sft seed=0"))
        with progress.task("study", 8), progress.task("zero [1]", 30) as advance:
            advance(7, note="reward 0.5")
            console.print(view._render())
        progress.message("mixture [id]: made")
        view.job_ended("sft seed=0", True, 3.0)
    shown = text.getvalue()
    for part in ("sft seed=0", "study", "0/8", "zero [1]", "7/30", "reward 0.5", "sweep", "0/2", "mixture [id]: made"):
        assert part in shown


def test_a_job_that_ends_amid_its_tasks_leaves_no_bars() -> None:
    console, _ = _console(True)
    with TerminalView(console, 2) as view:
        view.job_started("a")
        view.job_event("a", {"event": "start", "task": "zero", "total": 3})
        view.job_ended("a", False, 1.0)
        assert view._jobs == {}


@pytest.mark.parametrize("terminal", [True, False])
def test_an_unknown_event_is_an_error(terminal: bool) -> None:
    with progress_view(_console(terminal)[0], 1) as view:
        view.job_started("a")
        with pytest.raises(ValueError, match="no progress event"):
            view.job_event("a", {"event": "dance"})


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (8.21, "8.2 s"), (75.3, "75 s"), (720.0, "12 min")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
