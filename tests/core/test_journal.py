"""A journal answers calls that were made before, and only with what is on disk undamaged."""

import errno
import os
import threading

import pytest

from specs_lab.core.journal import Journal, make_anew


class Counted:
    """Makes values, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"text": "Zürich \n", "pair": (self.calls, 0.1)}


def test_a_call_is_made_once_and_recalled_as_it_was_first_answered(tmp_path):
    path, make = tmp_path / "work" / "journal", Counted()
    first = Journal(path)("a", make)
    assert first == {"text": "Zürich \n", "pair": [1, 0.1]}
    again = Journal(path)
    assert again("a", make) == first
    assert again("b", make)["pair"] == [2, 0.1]
    assert list(Journal(path)) == ["a", "b"]
    assert make.calls == 2


@pytest.mark.parametrize("left", range(1, 40, 7))
def test_half_a_line_is_forgotten_and_written_over(tmp_path, left):
    path, make = tmp_path / "journal", Counted()
    journal = Journal(path)
    whole = [journal(key, make) for key in "ab"]
    size = path.stat().st_size
    journal("c", make)
    os.truncate(path, size + left)
    resumed = Journal(path)
    assert [resumed(key, make) for key in "ab"] == whole
    assert make.calls == 3
    resumed("c", make)
    assert list(Journal(path)) == ["a", "b", "c"]
    assert make.calls == 4


def test_a_spoilt_line_counts_as_not_there_and_the_others_stay(tmp_path):
    path, make = tmp_path / "journal", Counted()
    journal = Journal(path)
    for key in "abc":
        journal(key, make)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"pair": [2', b'"pair": [7'))
    told = []
    resumed = Journal(path, told.append)
    assert told == [f"1 of the results in {path} are damaged and made anew"]
    assert list(resumed) == ["a", "c"]
    assert resumed("b", make)["pair"] == [4, 0.1]
    assert Journal(path)("b", make)["pair"] == [4, 0.1]


def test_half_a_line_of_a_full_disk_spoils_no_other(tmp_path, monkeypatch):
    path, make = tmp_path / "journal", Counted()
    journal = Journal(path)
    journal("a", make)

    def half(descriptor, line):
        os.write(descriptor, line[:20])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr("specs_lab.core.journal._write_all", half)
        with pytest.raises(OSError, match="full"):
            journal("b", make)
    assert journal("c", make) == Journal(path)("c", make)
    assert list(Journal(path)) == ["a", "c"]


def test_a_file_that_changes_in_use_is_no_answer(tmp_path):
    path, make = tmp_path / "journal", Counted()
    journal = Journal(path)
    journal("a", make)
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2"))
    with pytest.raises(OSError, match="has changed"):
        journal("a", make)


def test_who_was_overtaken_cannot_write(tmp_path):
    folder = tmp_path / "mine"
    journal, make = Journal(folder / "journal"), Counted()
    journal("a", make)
    folder.rename(tmp_path / "theirs")
    with pytest.raises(FileNotFoundError):
        journal("b", make)
    assert list(Journal(tmp_path / "theirs" / "journal")) == ["a"]
    assert not folder.exists()


def test_threads_do_not_mix_their_lines(tmp_path):
    journal = Journal(tmp_path / "journal")
    keys = [f"{i}" for i in range(24)]
    threads = [threading.Thread(target=journal, args=(key, lambda key=key: key * 50)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    resumed = Journal(tmp_path / "journal")
    assert sorted(resumed) == sorted(keys)
    assert all(resumed(key, Counted()) == key * 50 for key in keys)


def test_without_a_journal_every_call_is_made():
    make = Counted()
    assert make_anew("a", make) != make_anew("a", make)
