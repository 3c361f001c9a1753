import json
from dataclasses import replace

import pytest

from benchmarks.cases import Case
from benchmarks.duel import Outcome, Step
from benchmarks.flops import sharing_bound, step_flops
from benchmarks.results import machine, part_ratios, ratios, spread, summary, write

CASE = Case(method="grpo", prompts=2, image=448, completion=64, group=8)
P, L = 10 + 256 + 20, 64
PARAMETERS = {"layers": 1000, "head": 100, "vision": 10}


def test_spread_has_median_and_quartiles():
    assert spread([4.0, 1.0, 2.0, 3.0, 10.0]) == {
        "median": 3.0, "q1": 2.0, "q3": 4.0, "min": 1.0, "max": 10.0, "all": [4.0, 1.0, 2.0, 3.0, 10.0]
    }  # fmt: skip


def test_the_ratio_is_theirs_over_ours_and_its_spread_is_of_steps_taken_in_turn():
    ours = [Step(1.0), Step(2.0), Step(4.0)]
    theirs = [Step(3.0), Step(8.0), Step(4.0)]
    found = ratios(ours, theirs)
    assert found["ratio"] == 4.0 / 2.0
    assert found["ratio_of_steps"]["all"] == [3.0, 4.0, 1.0]
    assert (found["ratio_of_steps"]["min"], found["ratio_of_steps"]["max"]) == (1.0, 4.0)


def test_parts_are_compared_where_both_sides_have_them():
    assert part_ratios({"rollout": 2.0, "zero": 0.0}, {"rollout": 5.0, "scores": 1.0, "zero": 1.0}) == {"rollout": 2.5}


def test_a_summary_has_medians_of_parts():
    steps = [Step(1.0, {"rollout": 0.5}, 10), Step(3.0, {"rollout": 0.7}, 12), Step(2.0, {}, 11)]
    found = summary(Outcome(steps, {"peak_mb": 5.0, "base_mb": 2.0}, {"fused": True}))
    assert found["seconds"]["median"] == 2.0
    assert found["parts"] == {"rollout": 0.5}
    assert (found["tokens"], found["peak_mb"], found["facts"]) == (11, 5.0, {"fused": True})


def test_training_is_what_trl_does_after_its_scores():
    trl = Step(9.0, {"rollout": 2.0, "rollout and scores": 3.0}, 1)
    assert summary(Outcome([trl], {}, {}))["parts"]["training"] == 6.0


def test_the_bound_of_sharing_is_the_ratio_of_token_counts():
    tokens = 16 * (P + L)
    assert sharing_bound(CASE, tokens) == pytest.approx(8 * (P + L) / (P + 8 * L))
    assert sharing_bound(replace(CASE, method="sft"), 2 * (P + L)) == 1.0
    assert sharing_bound(replace(CASE, method="dpo"), 4 * (P + L)) == pytest.approx(2 * (P + L) / (P + 2 * L))


def test_flops_are_those_of_the_plain_computation():
    tokens = 16 * (P + L)
    forward = 1000 * tokens + 100 * 16 * L + 10 * 16 * 32 * 32
    given = replace(CASE, given_rollouts=True)
    assert step_flops(given, tokens, PARAMETERS) == 6 * forward
    assert step_flops(CASE, tokens, PARAMETERS) == 8 * forward  # and the rollout's forward pass
    assert step_flops(replace(given, kl_weight=0.04), tokens, PARAMETERS) == 8 * forward
    assert step_flops(replace(CASE, method="rollout"), tokens, PARAMETERS) == 2 * forward
    frozen = replace(given, freeze_vision=True)
    assert step_flops(frozen, tokens, PARAMETERS) == 6 * forward - 4 * 10 * 16 * 32 * 32


def test_only_an_online_reference_counts():
    pairs = replace(CASE, method="dpo")
    online = step_flops(pairs, 4 * (P + L), PARAMETERS)
    cached = step_flops(replace(pairs, reference="cached"), 4 * (P + L), PARAMETERS)
    assert online / cached == pytest.approx(8 / 6)


def test_results_are_written_with_six_digits(tmp_path):
    write({"a": [1 / 3, {"b": (2, "x", None)}]}, tmp_path / "new" / "file.json")
    assert json.loads((tmp_path / "new" / "file.json").read_text()) == {"a": [0.333333, {"b": [2, "x", None]}]}


def test_the_machine_is_described_without_its_name():
    import platform

    facts = machine()
    assert all((facts["versions"]["torch"], facts["cores"], facts["cpu"]))
    assert platform.node() not in json.dumps(facts)
