"""The options of the group `adapter`."""

import subprocess
import sys

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.models.setup import ModelSetup


@pytest.mark.parametrize("kind", [LoraAdapter, DoraAdapter, QLoraAdapter])
def test_all_faults_are_named_together(kind):
    with pytest.raises(InvalidOption) as caught:
        kind(rank=0, alpha=0, dropout=1.0, targets=["language", "q_proj"], init="pissa")
    assert [fault.where for fault in caught.value.faults] == ["rank", "alpha", "dropout", "targets", "init"]


def test_targets_may_not_be_none_at_all():
    with pytest.raises(InvalidOption, match="targets"):
        LoraAdapter(targets=[])


def test_quantised_layers_compute_in_a_known_type():
    with pytest.raises(InvalidOption, match="compute_dtype"):
        QLoraAdapter(compute_dtype="float16")


def test_only_qlora_holds_weights_in_four_bits_and_full_has_none_below_it():
    setup = ModelSetup(dtype="bfloat16")
    held = [kind().holding(setup) for kind in (FullAdapter, LoraAdapter, DoraAdapter, QLoraAdapter)]
    assert [one.four_bit for one in held] == [False, False, False, True]
    assert [one.dtype for one in held] == ["float32", "bfloat16", "bfloat16", "bfloat16"]
    assert held[-1].computes == "bfloat16"
    assert QLoraAdapter(compute_dtype="float32").holding(setup).computes == "float32"


def test_the_options_import_neither_peft_nor_bitsandbytes():
    code = (
        "import sys; from specs_lab.core.options import discover_options; found = discover_options(); "
        "assert ('adapter', 'qlora') in found; "
        "sys.exit(str([m for m in ('peft', 'bitsandbytes', 'transformers') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr.strip() == ""
