"""Checkpoints on disk: whole or not there, the last ones kept, damaged ones passed over; when they are written."""

import json
import os

import pytest

from specs_lab.core import stopping
from specs_lab.training import checkpoints as module
from specs_lab.training.checkpoints import STATE, Checkpoints, Keeper


class Told(list):
    def __call__(self, text):
        self.append(text)


def save(text):
    return lambda path: path.write_text(text)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n")
    return path


@pytest.fixture
def three(tmp_path, rows):
    told = Told()
    made = Checkpoints(tmp_path / "checkpoints", 2, told)
    for step in (1, 2, 30):
        rows.write_text(f"rows of {step}\n")
        made.write(step, save(f"state of {step}"), {"rows.csv": rows})
    return made, told


def test_the_newest_is_found_with_its_files_and_only_the_last_are_kept(three, tmp_path):
    made, told = three
    found = made.newest()
    assert (found.step, found.state.read_text()) == (30, "state of 30")
    assert (found.folder / "rows.csv").read_text() == "rows of 30\n"
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000002", "step-00000030"]
    assert told == []


def test_there_is_none_at_the_beginning(tmp_path):
    assert Checkpoints(tmp_path / "nowhere", 2).newest() is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / STATE).write_text("state of 31"), "another SHA-256"),
        (lambda folder: os.truncate(folder / STATE, 3), "another SHA-256"),
        (lambda folder: (folder / "rows.csv").unlink(), "lacks rows.csv"),
        (lambda folder: (folder / "checksums.json").unlink(), "no readable checksums"),
        (lambda folder: (folder / "checksums.json").write_text("{"), "no readable checksums"),
        (lambda folder: (folder / "checksums.json").write_text("[]"), "no readable checksums"),
        (lambda folder: (folder / "checksums.json").write_text("{}"), "no readable checksums"),
    ],
)
def test_a_damaged_one_is_passed_over_with_a_message(three, damage, says):
    made, told = three
    damage(made.newest().folder)
    assert made.newest().step == 2
    assert len(told) == 1
    assert "the checkpoint of step 30" in told[0]
    assert says in told[0]


def test_one_in_the_making_is_none_and_is_made_anew(three, tmp_path, rows):
    made, _ = three

    def broken(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        made.write(40, broken, {})
    assert made.newest().step == 30
    made.write(40, save("whole"), {"rows.csv": rows})
    assert made.newest().state.read_text() == "whole"


def test_a_damaged_one_is_replaced_when_its_step_comes_again(three, rows):
    made, _ = three
    (made.newest().folder / STATE).write_text("damaged")
    made.write(30, save("again"), {"rows.csv": rows})
    assert made.newest().state.read_text() == "again"


def test_checksums_are_of_what_was_written(three):
    made, _ = three
    checksums = json.loads((made.newest().folder / "checksums.json").read_text())
    assert set(checksums) == {STATE, "rows.csv"}


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def steps_written(folder):
    return sorted(int(name.removeprefix("step-")) for name in os.listdir(folder)) if folder.is_dir() else []


def test_one_is_written_when_time_is_up(tmp_path, clock, rows):
    keeper = Keeper(Checkpoints(tmp_path / "checkpoints", 9), 60, {"rows.csv": rows})
    for step, seconds in enumerate((30, 29, 2, 59, 1), start=1):
        clock.now += seconds
        keeper.after(step, save("x"))
    assert steps_written(tmp_path / "checkpoints") == [3, 5]


def test_writing_takes_no_more_than_a_twentieth_of_the_time(tmp_path, clock, rows):
    keeper = Keeper(Checkpoints(tmp_path / "checkpoints", 9), 1, {"rows.csv": rows})

    def slow(path):
        path.write_text("x")
        clock.now += 10

    for step in range(1, 400):
        clock.now += 1
        keeper.after(step, slow)
    assert steps_written(tmp_path / "checkpoints") == [1, 191, 381]


def test_zero_seconds_are_every_step(tmp_path, clock, rows):
    keeper = Keeper(Checkpoints(tmp_path / "checkpoints", 9), 0, {"rows.csv": rows})
    for step in range(1, 4):
        keeper.after(step, save("x"))
    assert steps_written(tmp_path / "checkpoints") == [1, 2, 3]


def test_who_is_asked_to_stop_writes_one_and_ends(tmp_path, clock, rows, monkeypatch):
    keeper = Keeper(Checkpoints(tmp_path / "checkpoints", 9), 60, {"rows.csv": rows})
    keeper.after(1, save("x"))
    monkeypatch.setattr(stopping._State, "asked", True)
    with pytest.raises(SystemExit) as ended:
        keeper.after(2, save("x"))
    assert ended.value.code == 143
    assert steps_written(tmp_path / "checkpoints") == [2]


def test_who_was_overtaken_cannot_write(tmp_path, rows):
    (tmp_path / "mine").mkdir()
    made = Checkpoints(tmp_path / "mine" / "checkpoints", 2)
    made.write(1, save("x"), {"rows.csv": rows})
    (tmp_path / "mine").rename(tmp_path / "theirs")
    with pytest.raises(FileNotFoundError):
        made.write(2, save("x"), {"rows.csv": rows})
    assert Checkpoints(tmp_path / "theirs" / "checkpoints", 2).newest().step == 1
