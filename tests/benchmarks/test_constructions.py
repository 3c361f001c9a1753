"""The benchmarks of constructions and recipes, on next to nothing."""

import json

import pytest

from benchmarks import constructions
from benchmarks.tables import table


def test_pairs_are_made_both_ways_and_compared(tmp_path):
    out = tmp_path / "constructions.json"
    small = ["--pairs", "4", "--alone", "2", "--repeats", "1", "--threads", "1", "--model", "tiny", "--out", str(out)]
    assert constructions.main(small) == 0
    results = json.loads(out.read_text())
    ways = results["pair_seconds"]
    assert results["ratio"]["median"] == pytest.approx(
        ways["one by one"]["median"] / ways["together"]["median"], rel=1e-4
    )
    assert "4 of `self_distill` on `tiny`" in table(results)


def test_recipes_have_a_table_that_says_where_out_of_distribution_is_another_cell():
    machine = {"cpu": "a CPU", "python": "3.11", "versions": {}, "gpu": None}
    line = {"stages": 5, "seconds": 61.4, "id joint": [0.5, 0.4, 0.6], "ood joint": [0.25, 0.2, 0.3]}
    line |= {"id accuracy": [0.9, 0.8, 1.0], "ood accuracy": [0.8, 0.7, 0.9]}
    recipes = [{**line, "recipe": "zero", "ood": "ood"}, {**line, "recipe": "seed_bench_levels", "ood": "ood_family"}]
    shown = table(
        {"kind": "recipes", "machine": machine, "settings": {}, "command": "specs-lab -m", "recipes": recipes}
    )
    assert "| `zero` | 5 | 61 | 50.0 (40 to 60) | 25.0 (20 to 30) | 90.0 (80 to 100) | 80.0 (70 to 90) |" in shown
    assert "`ood_family` for `seed_bench_levels`" in shown
