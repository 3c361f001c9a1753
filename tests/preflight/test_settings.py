"""Settings of the built-in models are told apart from those of a real one."""

import pytest

from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of
from specs_lab.preflight.settings import check_settings
from specs_lab.stages.graph import plan


@pytest.fixture(scope="module")
def found(fake_checkpoint):
    """What is found of a study of overrides; the model is no built-in one unless they say so."""

    def of(*overrides: str):
        folder = ["model=folder", f"model.path={fake_checkpoint}"] if "model=tiny" not in overrides else []
        with composer() as known:
            study = study_of(known.compose([*folder, *overrides]))
        return check_settings(study, plan(study))

    return of


LONG = [f"{node}.max_new_tokens=512" for node in ("rl", "zero", "data", "suite")]
SLOW = [f"{node}.lr=1e-6" for node in ("rl", "zero", "coldstart")]


def test_short_responses_and_high_rates_are_named_by_stage(found):
    finding = found()
    assert finding.level == "warning"
    assert "stage final lets responses have 48 tokens" in finding.what
    assert "stage cold trains all weights at a rate of 0.0003" in finding.what
    assert "experiment=full/<recipe>" in finding.fix


@pytest.mark.parametrize("overrides", [["model=tiny"], [*LONG, *SLOW], [*LONG, "adapter=lora"]])
def test_nothing_is_said_of_what_fits(found, overrides):
    assert found(*overrides).level == "ok"


def test_each_fault_counts_by_itself(found):
    assert "rate" not in found("adapter=lora").what
    assert "tokens" not in found(*LONG).what
