"""Registries find what lies in their package, once, and help when a name is wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.registry import Registry

PACKAGE = "shelf_of_the_registry_test"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[str]]:
    """A registry over a package of two modules, which register themselves when they are imported."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("SHELF = None\n")
    for name in ("zebra", "apple"):
        (folder / f"{name}.py").write_text(f"from {PACKAGE} import SHELF\nSHELF.register('{name}')('a {name}')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[str] = Registry("fruit", PACKAGE)
    __import__(PACKAGE)
    sys.modules[PACKAGE].SHELF = registry  # pyright: ignore[reportAttributeAccessIssue]
    yield registry
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_modules_are_found_by_looking_and_listed_in_order(shelf: Registry[str]):
    assert shelf.names() == list(shelf) == ["apple", "zebra"]
    assert len(shelf) == 2
    assert "apple" in shelf
    assert "pear" not in shelf
    assert shelf.get("zebra") == "a zebra"


@pytest.mark.parametrize("first_use", [len, list, lambda shelf: "apple" in shelf, lambda shelf: shelf.get("apple")])
def test_any_first_use_discovers(shelf: Registry[str], first_use):
    assert first_use(shelf)
    shelf.discover()
    assert len(shelf) == 2


def test_an_unknown_name_is_a_user_error_that_suggests(shelf: Registry[str]):
    with pytest.raises(UserError, match="fruit: there is no 'appel'") as error:
        shelf.get("appel")
    assert "did you mean 'apple'? known: apple, zebra" in str(error.value)


def test_a_name_is_given_once(shelf: Registry[str]):
    assert shelf.register("pear")("a pear") == "a pear"
    with pytest.raises(ValueError, match="fruit 'pear' is registered twice"):
        shelf.register("pear")("another pear")
    assert shelf.get("pear") == "a pear"


def test_what_is_registered_from_elsewhere_must_not_take_a_name_of_the_package(shelf: Registry[str]):
    """The one at fault is the one that came later, though nobody has looked anything up before."""

    class Plugin(str): ...

    assert Plugin.__module__ != PACKAGE
    with pytest.raises(ValueError, match="fruit 'apple' is registered twice"):
        shelf.register("apple")(Plugin("another apple"))
    assert shelf.get("apple") == "a apple"


def test_a_broken_module_is_reported_every_time(shelf: Registry[str], tmp_path: Path):
    """Not once as broken and then as an option that does not exist."""
    (tmp_path / PACKAGE / "rotten.py").write_text("import no_such_module_anywhere\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
            shelf.get("zebra")
