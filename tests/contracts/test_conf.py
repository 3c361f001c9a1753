"""What holds for every YAML file of the configuration, and for every registered option."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import specs_lab.conf
import yaml

from specs_lab.cli.composition import Composer, composer
from specs_lab.cli.preflight import find_faults
from specs_lab.core.options import discover_options

CONF = Path(str(specs_lab.conf.__file__)).parent
FILES = sorted(CONF.rglob("*.yaml"))
CHOICES = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra")
OPTIONS = sorted(discover_options())
_PLACES = {"recipe": "recipe"}
"""Groups whose choices say where they are put, as they choose in other groups too."""


def _relative(path: Path) -> str:
    return str(path.relative_to(CONF))


@pytest.fixture(scope="module")
def known() -> Iterator[Composer]:
    with composer() as made:
        yield made


_OF_DATA = ("consistency", "teacher")
"""Groups that are part of the data, and the data that have a choice of them."""
_SFT_DATA = ("rejection_sampling", "openvlthinker", "wei_distilled", "caption", "reflection", "self_critic", "vlaa")
"""Data without a rejected side."""


def _choose(known: Composer, path: Path, model: list[str]) -> list[str]:
    group, name = path.parent.name, path.stem
    if group in _OF_DATA:
        needed = [f"data.{group}.model=any"] if name == "endpoint" else []
        return [*model, "data=teacher_distill", f"{group}@data.{group}={name}", *needed]
    if group == "data":
        file = next(item.partition("=")[2] for item in model if item.startswith("model.path=")) + "/config.json"
        needed = [f"data.path={file}"] if name == "file" else ["coldstart=sft"] if name in _SFT_DATA else []
        return [*model, f"data={name}", *needed]
    if (group, name) == ("rl", "vlaa"):  # trains on tasks that its construction puts aside
        return [*model, "recipe=vlaa_rl", "rl=vlaa"]
    if (group, name) == ("problems", "local"):
        return [*model, "problems=local", f"problems.path={Path(__file__).parent}"]
    if (group, name) == ("suite", "benchmark"):
        return [*model, "suite=benchmark", "suite.benchmark=mathvista", f"suite.path={Path(__file__).parent}"]
    sign = "" if group in known.compose([]).hydra.runtime.choices else "+"
    chosen = f"{sign}{group}={path.stem}"
    if group == "judge":
        folder = next(item.partition("=")[2] for item in model if item.startswith("model.path="))
        needed = {"endpoint": ["judge.model=any"], "model": [f"judge.path={folder}"]}
        return [*model, chosen, *needed.get(path.stem, [])]
    if group == "reward_term":
        return [*model, f"+reward_term@reward.terms.another={path.stem}"]
    return [chosen, *model[1:]] if group == "model" and path.stem == "folder" else [*model * (group != "model"), chosen]


@pytest.mark.parametrize("path", CHOICES, ids=_relative)
def test_every_choice_composes_without_faults(
    known: Composer, fake_model: list[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specs_lab.training.options.trainer._gpu_is_there", lambda: True)
    overrides = _choose(known, path, fake_model)
    if path.parent.name == "recipe" and path.stem == "pretrain":
        overrides.append("+pretrain=small")
    assert find_faults(known, overrides, sweep=False) == []


@pytest.mark.parametrize("coldstart", [path.stem for path in sorted(CONF.glob("coldstart/*.yaml"))])
def test_the_smoke_experiment_shortens_every_cold_start(known: Composer, fake_model: list[str], coldstart: str) -> None:
    overrides = [*fake_model, "experiment=smoke", f"coldstart={coldstart}"]
    assert find_faults(known, overrides, sweep=False) == []
    cfg = known.compose(overrides)
    assert cfg.coldstart.get("steps", 2) == cfg.rl.steps == cfg.zero.steps == 2
    assert (cfg.suite.n, cfg.data.pairs) == (6, 8)


def test_changes_of_one_cold_start_belong_to_an_experiment_and_a_cold_start() -> None:
    pairs = {
        f"{experiment.stem}_{coldstart.stem}"
        for experiment in CONF.glob("experiment/*.yaml")
        for coldstart in CONF.glob("coldstart/*.yaml")
    }
    assert {path.stem for path in CONF.glob("experiment/coldstart/*.yaml")} <= pairs


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_registered_option_is_the_schema_of_a_choice(group: str, name: str) -> None:
    lines = [f"/schema/{group}@{place}: {name}\n" for place in ("_here_", _PLACES.get(group))]
    texts = [path.read_text(encoding="utf-8") for path in CONF.glob(f"{group}/*.yaml")]
    assert any(line in text for line in lines for text in texts)


@pytest.mark.parametrize("path", CHOICES, ids=_relative)
def test_every_choice_has_a_registered_schema(known: Composer, fake_model: list[str], path: Path) -> None:
    if path.parent.name == "experiment":
        pytest.skip("experiments change options of other groups")
    group, name = path.parent.name, path.stem
    while True:
        first = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))["defaults"][0]
        if isinstance(first, dict):
            break
        name = first  # as another choice of the group, with changes
    assert (group, first[f"/schema/{group}@{_PLACES.get(group, '_here_')}"]) in OPTIONS


@pytest.mark.parametrize("path", FILES, ids=_relative)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \w", lines[0])


@pytest.mark.parametrize("path", FILES, ids=_relative)
def test_no_file_names_code_to_call(path: Path) -> None:
    assert not [key for key in _keys(yaml.safe_load(path.read_text(encoding="utf-8"))) if re.fullmatch(r"_\w+_", key)]


def _keys(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)
