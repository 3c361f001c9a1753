"""Every family with every adapter under every method: the loss is finite, weights move, and checkpoints resume.

The same as ``python -m benchmarks.families``, whose results the README has.
"""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

from specs_lab.models.setup import ModelSetup

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("tiny_checkpoints", ROOT / "tests" / "models" / "tiny_checkpoints.py")
tiny_checkpoints = sys.modules.setdefault("tiny_checkpoints", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(tiny_checkpoints)
every_adapter = pytest.mark.parametrize("adapter", ["full", "lora", "dora", "qlora"])
every_method = pytest.mark.parametrize("method", ["sft", "dpo", "hybrid", "grpo"])


@pytest.fixture(scope="module")
def families():
    """The package `benchmarks` is not installed."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from benchmarks import families

    return families


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    return {name: tiny_checkpoints.tiny_checkpoint(name, place / name) for name in tiny_checkpoints.RECIPES}


@pytest.mark.parametrize("family", tiny_checkpoints.RECIPES)
@every_adapter
@every_method
def test_two_steps_and_a_resumed_one(families, folders, family, adapter, method):
    found = families.examine(folders[family], family, adapter, method)
    assert math.isfinite(found.loss)
    assert found.moved > 0
    assert found.resumed == 0
    assert found.holds


@every_adapter
@every_method
def test_in_bfloat16(families, folders, adapter, method):
    assert families.examine(folders["qwen2_5_vl"], "", adapter, method, ModelSetup(dtype="bfloat16")).holds


def test_a_preference_loss_starts_at_ln2_with_every_adapter(families, folders):
    """So the adapter starts as nothing, and the reference is the model below it, in four bits too."""
    for adapter in families.ADAPTERS:
        found = families.examine(folders["qwen2_5_vl"], "", adapter, "dpo")
        assert found.loss == pytest.approx(math.log(2), abs=1e-6)
