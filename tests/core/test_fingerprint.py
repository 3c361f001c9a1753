import ast
import sys
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from specs_lab.core import fingerprint as module
from specs_lab.core.fingerprint import fingerprint, modules, source_hash
from specs_lab.stages.kinds import KINDS

PACKAGE = "package_whose_fingerprint_is_taken"
SOURCE = '''
"""Doc."""
LIMIT = 1_000
"""Doc of an attribute."""


class Thing:
    """Doc."""

    size: int = 3

    def grow(self, by: int) -> int:
        """Doc."""
        return self.size + by  # a comment
'''

OfPackage = Callable[..., str]


@pytest.fixture
def of_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OfPackage:
    """Writes {file: source} as a package, in a folder or a zip file, and takes the fingerprint of names in it."""
    number = count()

    def take(sources: dict[str, str], *names: str, zipped: bool = False) -> str:
        place = tmp_path / str(next(number))
        if zipped:
            with zipfile.ZipFile(place, "w") as archive:
                for name, source in sources.items():
                    archive.writestr(f"{PACKAGE}/{name}", source)
        else:
            for name, source in sources.items():
                (place / PACKAGE / name).parent.mkdir(parents=True, exist_ok=True)
                (place / PACKAGE / name).write_text(source)
        monkeypatch.syspath_prepend(str(place))
        sys.modules.pop(PACKAGE, None)
        module._module_hashes.cache_clear()
        return fingerprint([".".join([PACKAGE, name]).rstrip(".") for name in names or ("",)])

    return take


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ('"""Doc."""', '"""Reworded."""'),
        ('"""Doc of an attribute."""\n', ""),
        ("1_000", "1000"),
        ("self.size + by", "(\n            self.size\n            + by\n        )"),
        ("\n\n\nclass", "\nclass"),
    ],
)
def test_comments_docstrings_and_layout_do_not_enter(old: str, new: str) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert source_hash(changed) == source_hash(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1_000", "1_001"),
        ("1_000", "1_000.0"),
        ("self.size + by", "self.size - by"),
        ("size: int = 3", "size: int = 4"),
        ("grow", "shrink"),
        ("return self.size + by", 'return "text"'),
        ("class Thing:", "@final\nclass Thing:"),
    ],
)
def test_code_enters(old: str, new: str) -> None:
    assert source_hash(SOURCE.replace(old, new)) != source_hash(SOURCE)


def test_a_package_stands_for_all_modules_below_it(of_package: OfPackage) -> None:
    sources = {"__init__.py": "", "a.py": "x = 1", "deep/__init__.py": "", "deep/b.py": "y = 1"}
    whole = of_package(sources)
    assert of_package({**sources, "deep/b.py": "y = 2"}) != whole
    assert of_package({**sources, "deep/c.py": ""}) != whole
    assert of_package({**sources, "notes.txt": "no code"}) == whole


def test_only_what_is_named_enters(of_package: OfPackage) -> None:
    sources = {"__init__.py": "", "a.py": "x = 1", "b.py": "y = 1"}
    assert of_package({**sources, "b.py": "y = 2"}, "a") == of_package(sources, "a")
    assert of_package({**sources, "b.py": "y = 2"}, "a", "b") != of_package(sources, "a", "b")


def test_order_and_overlap_of_names_do_not_matter(of_package: OfPackage) -> None:
    sources = {"__init__.py": "", "a.py": "x = 1", "b.py": "y = 1"}
    assert of_package(sources, "a", "b") == of_package(sources, "b", "a", "b")


def test_modules_are_not_imported(of_package: OfPackage) -> None:
    before = set(sys.modules)
    of_package({"__init__.py": "", "broken.py": "raise SystemExit", "deep/__init__.py": "raise SystemExit"})
    of_package({"__init__.py": "", "deep/__init__.py": "raise SystemExit", "deep/a.py": ""}, "deep.a")
    assert [name for name in set(sys.modules) - before if name.endswith((".broken", ".deep", ".a"))] == []


def test_a_zipped_package_has_the_fingerprint_of_its_folder(of_package: OfPackage) -> None:
    sources = {"__init__.py": "", "a.py": "x = 1", "deep/__init__.py": "", "deep/b.py": "y = 1"}
    assert of_package(sources, zipped=True) == of_package(sources)
    assert of_package(sources, "deep.b", zipped=True) == of_package(sources, "deep.b")


def test_a_module_in_no_package_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(source: str, place: str) -> str:
        (tmp_path / place).mkdir()
        (tmp_path / place / "module_in_no_package.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path / place))
        module._module_hashes.cache_clear()
        return fingerprint(["module_in_no_package"])

    assert take("x = 1", "a") == take("x = 1  # the same", "b") != take("x = 2", "c")


def test_a_package_without_an_init_file_has_a_fingerprint(of_package: OfPackage) -> None:
    assert of_package({"a.py": "x = 1"}) != of_package({"a.py": "x = 2"})
    assert of_package({"a.py": "x = 1"}, "a") != of_package({"a.py": "x = 2"}, "a")


@pytest.mark.parametrize("name", ["specs_lab.not_there", "specs_lab.core.not_there", "not_there_at_all.a"])
def test_an_unknown_name_is_an_error(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        fingerprint([name])


# Code that no result depends on; see the comment in kinds.py.
_HARMLESS = (
    "specs_lab.core.atomic",
    "specs_lab.core.cache",
    "specs_lab.core.errors",
    "specs_lab.core.fingerprint",
    "specs_lab.core.hub",
    "specs_lab.core.options",
    "specs_lab.core.progress",
    "specs_lab.core.registry",
    "specs_lab.core.secrets",  # hides, in messages
    "specs_lab.core.stopping",
    "specs_lab.stages.context",
    "specs_lab.stages.store",
    "specs_lab.tracking.loggers",  # watch; they change no artifact
    "specs_lab.training.options.trainer",
)


# Named by the options that use it instead, so that a changed benchmark concerns no study without one.
_BY_OPTION = "specs_lab.evaluation.benchmarks."


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_names_all_code_that_its_code_imports(kind) -> None:
    covered = {name.removesuffix(".__init__"): file for part in kind.code for name, file in modules(part)}
    assert kind.runner.partition(":")[0] in covered
    uncovered = {
        imported: name
        for name, file in covered.items()
        for imported in imported_modules(file.read_text())
        if imported not in covered and imported not in _HARMLESS and not imported.startswith(_BY_OPTION)
    }
    assert uncovered == {}


def imported_modules(source: str) -> set[str]:
    """The modules of specs_lab that a source imports from anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("specs_lab"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if is_module(name)} or {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("specs_lab")}
    return found


def is_module(name: str) -> bool:
    try:
        return bool(list(modules(name)))
    except ModuleNotFoundError:
        return False
