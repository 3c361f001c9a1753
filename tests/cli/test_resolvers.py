from pathlib import Path

import pytest

from specs_lab.cli.resolvers import cache_folder, choices, slug


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPECS_LAB_CACHE", str(tmp_path))
    assert cache_folder() == str(tmp_path)


def test_without_the_variable_the_cache_is_in_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPECS_LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == str(tmp_path / "specs_lab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == str(tmp_path / ".cache" / "specs_lab")


@pytest.mark.parametrize("text", ["a/b", "../up", "x" * 999, "", "model.path=/a b/c,seed=1", "a'b\"c$d{e}"])
def test_a_slug_is_one_part_of_a_path(text: str) -> None:
    part = slug(text)
    assert 0 < len(part) <= 120
    assert Path(part).name == part
    assert not part.startswith(".")


def test_a_slug_keeps_what_is_harmless() -> None:
    assert slug("coldstart=sft,coldstart.lr=1e-3") == "coldstart=sft,coldstart.lr=1e-3"


def test_all_choices_are_listed_with_their_comments() -> None:
    listed = choices()
    assert "coldstart\n" in listed
    assert "hybrid" in listed
    assert "The cold start of SPECS" in listed
    assert "@package" not in listed
