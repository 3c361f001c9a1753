from collections.abc import Callable
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from specs_lab.preflight import versions
from specs_lab.preflight.versions import check_versions
from specs_lab.stages.context import Study


@pytest.mark.parametrize(
    ("wanted", "level"),
    [("numpy>=99", "fault"), ("numpy<1", "warning"), ("no-such-package>=1", "fault"), ("numpy>=1", "ok")],
)
def test_a_package_of_another_version(
    monkeypatch: pytest.MonkeyPatch, study: Callable[..., Study], wanted: str, level: str
):
    monkeypatch.setattr(versions, "_requirements", lambda: (Requirement(wanted),))
    (finding,) = check_versions(study())
    assert finding.level == level
    assert (wanted in finding.fix) == (level != "ok")


def test_requirements_are_those_of_the_package_without_its_extras():
    names = {one.name for one in versions._requirements()}
    assert {"torch", "transformers"} <= names
    assert not names & {"pytest", "torchvision"}
    assert all(metadata.version(name) for name in names)


@pytest.mark.parametrize(
    ("override", "package"),
    [
        ("model.image_backend=torchvision", "torchvision"),
        ("adapter=qlora", "bitsandbytes"),
        ("rl.optimizer=adamw_8bit", "bitsandbytes"),
    ],
)
def test_what_a_choice_needs_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, study: Callable[..., Study], override: str, package: str
):
    chosen = study(override)
    monkeypatch.setattr(versions, "find_spec", lambda name: None)
    assert any(f.level == "fault" and package in f.what for f in check_versions(chosen))
    monkeypatch.setattr(versions, "find_spec", lambda name: object())
    assert not any(package in f.what for f in check_versions(chosen) if f.level != "ok")
