"""The preflight's estimate of peak memory, against what training takes."""

import pytest

from benchmarks.memory_cases import MemoryCase, run
from benchmarks.memory_table import SMALL, WITHIN, cases
from benchmarks.results import machine
from benchmarks.tables import table
from specs_lab.models.sources.embedded import CHECKPOINTS

SIZES = {"prompts": 4, "image": 64, "text": 8, "completion": 24}


@pytest.mark.parametrize(
    "case",
    [
        MemoryCase(method="sft", **SIZES),
        MemoryCase(method="sft", adapter="lora", checkpointing=True, **SIZES),
        MemoryCase(method="dpo", adapter="lora", **SIZES),
        MemoryCase(method="dpo", adapter="qlora", half=True, **SIZES),
        MemoryCase(method="hybrid", **SIZES),
        MemoryCase(method="grpo", adapter="lora", **{**SIZES, "prompts": 1, "group": 4, "completion": 12}),
    ],
    ids=lambda case: f"{case.method}-{case.adapter}",
)
def test_the_estimate_is_near_what_is_measured(case: MemoryCase):
    measured, told = run(case, CHECKPOINTS / "small-0")
    assert told.peak == pytest.approx(measured, rel=WITHIN)


def test_every_method_is_measured_full_and_with_lora():
    for device, shape in (("cpu", SMALL), ("cuda", "qwen2_5_vl_3b")):
        plain = {(case.method, case.adapter) for case in cases(device, shape)}
        assert {(m, a) for m in ("sft", "dpo", "hybrid", "grpo") for a in ("full", "lora")} <= plain
    assert all(case.steps == 5 for case in cases("cuda", "qwen2_5_vl_3b"))


def test_a_table_has_a_row_for_each_case():
    case = {"method": "sft", "adapter": "full", "half": True, "checkpointing": False, "train_vision": False}
    row = {"shape": "small", "case": {**case, "kl_weight": 0.0, "micro_batch_tokens": 128}}
    row |= {"estimate_bytes": 1 << 20, "measured_bytes": 2 << 20, "ratio": 0.5}
    near = {**row, "ratio": 1.0}
    text = table({"kind": "memory", "machine": machine(), "within": WITHIN, "rows": [row, near]})
    assert text.startswith("1 of 2 estimates are within 15% of what was measured.")
    assert text.splitlines()[-2] == "| small | sft | full | bfloat16, 128 tokens a micro-batch | 1.0 | 2.0 | 0.500 |"
