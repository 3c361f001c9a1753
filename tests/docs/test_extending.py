"""docs/extending.md: its files are written into a package outside of specs_lab, and its commands are run."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
HELP, *EXAMPLES, TOGETHER, SWEEP = COMMANDS
_PLAN = """
import json, sys
from specs_lab.cli.composition import composer
from specs_lab.cli.preflight import check_command_line
from specs_lab.cli.values import study_of
from specs_lab.stages.graph import plan

keys = []
for arguments in json.load(sys.stdin):
    check_command_line(arguments)
    with composer() as known:
        keys.append({stage.name: stage.key for stage in plan(study_of(known.compose(arguments)))})
print(json.dumps(keys))
"""


def _install(place: Path, files: Mapping[str, str], plugins: Mapping[str, str], name: str = "my_lab") -> None:
    """Does what `pip install` does: puts the files into a folder of Python's path, and a record of entry points."""
    record = {
        f"{name}-0.1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n",
        f"{name}-0.1.dist-info/entry_points.txt": "\n".join(
            ["[specs_lab.plugins]", *(f"{entry} = {module}" for entry, module in plugins.items())]
        ),
    }
    for path, text in {**files, **record}.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text, encoding="utf-8")


def _python(place: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "SPECS_LAB_CACHE": str(place / "cache")},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _keys(place: Path, *commands: list[str]) -> list[dict[str, str]]:
    """The keys of the stages of each command, by stage."""
    done = _python(place, "-c", _PLAN, stdin=json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's package is installed."""
    place = tmp_path_factory.mktemp("lab")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    _install(place, FILES, project["entry-points"]["specs_lab.plugins"], project["name"])
    return place


@pytest.fixture(scope="module")
def jobs(lab: Path) -> list[dict]:
    """The records of the page's sweep, whose first job is the run of all examples together."""
    done = _python(lab, "-m", "specs_lab.run", *SWEEP, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(path.read_text()) for path in sorted(lab.glob("sweep/*/job.json"))]


def _rows(job: dict, stage: str) -> list[dict[str, str]]:
    with (Path(job["stages"][stage]["folder"]) / "rows.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_page_shows_every_file_of_its_package() -> None:
    tree = PAGE.split("```\nmy-lab/\n")[1].split("```")[0]
    named = re.findall(r"[\w/.]+\.(?:py|yaml|toml)\b", tree)
    assert sorted(Path(path).name for path in named) == sorted(Path(path).name for path in FILES)
    tool = tomllib.loads(FILES["pyproject.toml"])["tool"]["setuptools"]
    assert set(tool["packages"]) == {".".join(Path(path).parts[:-1]) for path in FILES if path.endswith("__init__.py")}


def test_links_and_folders_of_the_page_are_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
    inside = dict(re.findall(r"^\| `(\w+\.py)` \| `([\w/.]+)` \|$", PAGE, flags=re.MULTILINE))
    assert {f"my_lab/{name}" for name in inside} < set(FILES)
    assert [path for path in inside.values() if not (ROOT / path).parent.is_dir()] == []


def test_each_example_passes_all_checks_by_itself(lab: Path) -> None:
    assert len(EXAMPLES) == 4
    assert all(_keys(lab, *EXAMPLES))


def test_help_lists_what_the_package_adds(lab: Path) -> None:
    said = _python(lab, "-m", "specs_lab.run", *HELP).stdout
    choices = [path for path in FILES if path.endswith(".yaml")]
    assert len(choices) == 5
    for path in choices:
        comment = next(line for line in FILES[path].splitlines() if not line.startswith("# @package")).lstrip("# ")
        assert re.search(rf"^  {Path(path).stem} +{re.escape(comment)}", said, flags=re.MULTILINE)
    assert said.index("\n  gold ") < said.index("\n  reasoned ") < said.index("\n  rejection_sampling ")  # one list


@pytest.mark.e2e
def test_the_run_has_the_stages_of_the_recipe(jobs: list[dict]) -> None:
    stages = yaml.safe_load(FILES["my_lab/conf/recipe/twice.yaml"])["recipe"]["stages"]
    assert set(jobs[0]["stages"]) == set(stages)
    assert [job["status"] for job in jobs] == ["completed"] * 2


@pytest.mark.e2e
def test_the_pairs_are_those_of_the_construction(jobs: list[dict]) -> None:
    from specs_lab.data.records import read_pairs

    made, *_ = jobs
    pairs = read_pairs(Path(made["stages"]["pairs"]["folder"]) / "pairs.parquet")
    assert len(pairs) == 8
    assert {pair.rejected for pair in pairs} == {
        f"<think> ... </think>{pair.chosen.partition('</think>')[2]}" for pair in pairs
    }


@pytest.mark.e2e
def test_rl_logs_the_reward_term(jobs: list[dict]) -> None:
    for stage in ("first", "final"):
        assert "rollout/reward/brevity" in {row["metric"] for row in _rows(jobs[0], stage)}


@pytest.mark.e2e
def test_problems_of_the_family_are_asked(jobs: list[dict]) -> None:
    import pandas as pd

    samples = pd.read_parquet(Path(jobs[0]["stages"]["evaluate_final"]["folder"]) / "samples.parquet")
    assert set(samples["family"]) == {"count", "most", "compare", "locate"}


@pytest.mark.e2e
def test_jobs_of_a_sweep_have_the_stages_of_single_runs(lab: Path, jobs: list[dict]) -> None:
    reasoned, other = ({name: stage["key"] for name, stage in job["stages"].items()} for job in jobs)
    assert _keys(lab, TOGETHER) == [reasoned]
    assert reasoned["first"] == other["first"]
    assert reasoned["pairs"] != other["pairs"]


def test_stages_are_made_anew_when_the_code_of_the_package_changes(lab: Path) -> None:
    source = lab / "my_lab" / "brevity.py"
    before = source.read_text()
    try:
        (asked,) = _keys(lab, TOGETHER)
        source.write_text(f"# A comment.\n{before}")
        assert _keys(lab, TOGETHER) == [asked]
        source.write_text(before.replace("1 - one.tokens", "2 - one.tokens"))
        (changed,) = _keys(lab, TOGETHER)
    finally:
        source.write_text(before)
    assert changed.keys() == asked.keys()
    assert not set(changed.values()) & set(asked.values())


def test_every_broken_plugin_is_one_fault(tmp_path: Path) -> None:
    missing = "import no_such_module_anywhere\n"
    taken = '@option("data", "gold")\n@dataclass(kw_only=True)\nclass Gold:\n    """A name that is taken."""\n'
    files = {
        "a_lab/__init__.py": "",
        "a_lab/plugin.py": missing,
        "b_lab.py": f"from dataclasses import dataclass\nfrom specs_lab.core.options import option\n\n{taken}",
        "c_lab.py": FILES["my_lab/most.py"].replace('"most"', '"count"'),
        "d_lab.py": "def broken(:\n",
    }
    _install(tmp_path, files, {"a": "a_lab.plugin", "b": "b_lab", "c": "c_lab", "d": "d_lab", "e": "e_lab"})
    done = _python(tmp_path, "-m", "specs_lab.run", "experiment=smoke")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    faults = re.findall(r"^  \d\. plugin (\w): (.*)\n      fix: (.*)", done.stderr, flags=re.MULTILINE)
    assert [name for name, *_ in faults] == ["a", "b", "c", "d", "e"]
    said = {name: what for name, what, _ in faults}
    assert "'a_lab.plugin' cannot be imported: ModuleNotFoundError: No module named 'no_such_module_any" in said["a"]
    assert f"({tmp_path}/a_lab/plugin.py, line 1)" in said["a"]
    assert "option data=gold is registered twice" in said["b"]
    assert f"({tmp_path}/b_lab.py, line 4)" in said["b"]
    assert "problem family 'count' is registered twice" in said["c"]
    assert "SyntaxError" in said["d"]
    assert "(d_lab.py, line 1)" in said["d"]
    assert "No module named 'e_lab'" in said["e"]
    assert all("uninstall the package 'my_lab'" in fix for *_, fix in faults)
    assert not (tmp_path / "outputs").exists()
