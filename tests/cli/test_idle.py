"""Overrides that a recipe's own stages replace are refused instead of doing nothing."""

import pytest

from specs_lab.cli.composition import composer
from specs_lab.cli.preflight import find_faults


@pytest.fixture(scope="module")
def known():
    with composer() as made:
        yield made


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["recipe=vlaa_rl", "rl.buckets=[cold]"], "rl.buckets"),
        (["recipe=openvlthinker", "rl.buckets=[easy]"], "rl.buckets"),
        (["recipe=seed_bench_levels", "rl.mixture=[ood]"], "rl.mixture"),
        (["recipe=openvlthinker", "rl.mixture=[ood]"], "rl.mixture"),
    ],
)
def test_an_override_that_every_stage_replaces_is_a_fault(known, overrides, where):
    (fault,) = find_faults(known, overrides, sweep=False)
    assert fault.where == where
    assert "no effect" in fault.what


@pytest.mark.parametrize(
    "overrides",
    [
        ["recipe=mm_eureka", "rl.mixture=[ood]"],  # its first stage has no list of tasks
        ["recipe=vlaa_rl", "rl.steps=3"],
        ["recipe=specs", "rl.mixture=[ood]"],
        ["recipe=openvlthinker", "recipe.stages.final.by_round.rl.buckets=[[easy]]"],
        ["recipe=zero", "coldstart.steps=3"],  # that nobody reads the node at all is no mistake: sweeps do so
    ],
)
def test_an_override_that_some_stage_reads_is_none(known, overrides):
    assert find_faults(known, overrides, sweep=False) == []
