"""The table of families, adapters and methods."""

import pytest

from benchmarks import families, tables


def _outcome(**changes):
    one = {"family": "qwen3_vl", "adapter": "lora", "method": "sft", "learning": 44544, "loss": 6.15512}
    return families.Outcome(**{**one, "moved": 0.001, "resumed": 0.0, "seconds": 1.0, **changes})


def _table(*found):
    return tables.table(
        {
            "kind": "families",
            "machine": {"cpu": "a CPU", "python": "3", "versions": {"peft": "1"}},
            "settings": {"threads": 1, "steps": 2, "dtype": "float32"},
            "outcomes": [{**families.asdict(one), "holds": one.holds} for one in found],
        }
    )


@pytest.mark.parametrize("broken", [{"loss": float("nan")}, {"moved": 0.0}, {"resumed": 1e-9}])
def test_what_does_not_hold_stands_out(broken):
    text = _table(_outcome(), _outcome(method="grpo", **broken))
    assert "1 of 2 combinations hold" in text
    assert text.count("does not hold**") == 1


def test_a_row_is_a_model_and_a_column_a_method():
    text = _table(_outcome(), _outcome(method="grpo", loss=-1e-8), _outcome(adapter="full", learning=113216))
    assert "| model | weights that learn | sft | grpo |" in text
    assert "| qwen3_vl, lora | 44,544 | 6.155 | 0.000 |" in text
    assert "| qwen3_vl, full | 113,216 | 6.155 |  |" in text


def test_every_adapter_of_the_configuration_is_examined():
    names = {path.stem for path in (families.ROOT / "conf" / "adapter").glob("*.yaml")}
    assert set(families.ADAPTERS) == names
