"""What an installed specs_lab must hold, and what the README promises."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _yaml_names(folder: Traversable, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _yaml_names(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            found.add(prefix + entry.name)
    return found


def _layout() -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^  (\w+)(?:/|\.py) ", readme, flags=re.MULTILINE)


def _imports_between_packages() -> Iterator[tuple[str, str]]:
    """Yields (module's path, name of the package or module of specs_lab that it imports from)."""
    source = ROOT / "src" / "specs_lab"
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("specs_lab."):
                yield path.relative_to(source).as_posix(), str(node.module).split(".")[1]


def test_every_folder_of_modules_is_a_package() -> None:
    """setup.py finds regular packages only: a folder without `__init__.py` would be missing from the wheel."""
    folders = {module.parent for module in (ROOT / "src" / "specs_lab").rglob("*.py")}
    assert folders
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_yaml_of_conf_is_importable_from_the_package() -> None:
    on_disk = {path.relative_to(ROOT / "conf").as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert "config.yaml" in on_disk
    assert _yaml_names(files("specs_lab.conf")) == on_disk


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'lightning', 'matplotlib', 'pandas', 'wandb'}"
    code = f"import sys, specs_lab, specs_lab.conf; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_readme_starts_with_two_commands_that_make_knows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## Start\n+```\w*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    commands = block[1].splitlines()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert len(commands) == 2
    for command in commands:
        program, target = command.split()
        assert program == "make"
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_readme_lists_every_choice_of_every_group() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", readme, flags=re.MULTILINE))
    assert set(rows) > {"coldstart", "recipe"}
    for group, choices in rows.items():
        assert set(re.findall(r"`(\w[\w.-]*)`", choices)) == {
            path.stem for path in (ROOT / "conf" / group).glob("*.yaml")
        }


def test_readme_layout_names_every_package() -> None:
    source = ROOT / "src" / "specs_lab"
    folders = {module.relative_to(source).parts[0].removesuffix(".py") for module in source.rglob("*.py")}
    assert set(_layout()) == folders - {"__init__"}


def test_packages_import_only_from_packages_above_them_in_the_readme() -> None:
    order = _layout()
    upward = [
        f"{importer} imports specs_lab.{imported}"
        for importer, imported in _imports_between_packages()
        if order.index(imported) > order.index(importer.split("/")[0].removesuffix(".py"))
    ]
    assert upward == []


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(one.relative_to(ROOT)) for one in ROOT.glob("docs/*.md")),
    *(str(one.relative_to(ROOT)) for one in ROOT.glob("experiments/**/README.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_figures_in_the_readme_are_those_that_the_study_wrote() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "experiments" / "default_study" / "results.md").read_text(encoding="utf-8")
    rows = [line for line in results.split("**Generalization Factor")[0].splitlines() if line.startswith("|")]
    assert len(rows) >= 5
    assert "\n".join(rows) in readme
    assert (ROOT / "experiments" / "default_study" / "curves.png").is_file()


def _written_by_hand(path: Path) -> str:
    """A Markdown file without its verdict, which test_claims.py looks after."""
    return re.sub(r"<!-- verdict -->.*<!-- /verdict -->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def _tables(path: Path) -> list[str]:
    """Each table of a Markdown file, as its lines."""
    return re.findall(r"(?:^\|.*\n)+", _written_by_hand(path), flags=re.MULTILINE)


EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/expected.json"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tables_of_an_experiment_are_those_that_the_report_wrote_in_the_order_of_their_files(name: str) -> None:
    """A page that shows one setting's tables under another's heading has them in another order than the files."""
    folder = ROOT / "experiments" / name
    written = [table for path in sorted(folder.glob("results/*/results.md")) for table in _tables(path)]
    shown = _tables(folder / "README.md")
    places = [written.index(table) for table in shown]
    assert places == sorted(set(places))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_percentages_in_the_text_of_an_experiment_are_in_its_results(name: str) -> None:
    """Those with a decimal; the paper's own figures are in its expected.json."""
    folder = ROOT / "experiments" / name
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    results = folder.parent / expected.get("results_of", name) / "results"
    sources = [*results.glob("**/*.md"), folder / "expected.json"]
    known = set(re.findall(r"\d+\.\d", " ".join(path.read_text(encoding="utf-8") for path in sources)))
    text = _written_by_hand(folder / "README.md")
    assert set(re.findall(r"(?<![\d.-])\d+\.\d\b(?![.-])", text)) <= known
