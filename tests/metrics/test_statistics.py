"""Bootstrap intervals against scipy, by coverage, and by their invariances."""

import time

import numpy as np
import pytest
from scipy import stats

from specs_lab.metrics.generalization_factor import generalization_factor
from specs_lab.metrics.statistics import (
    Resampler,
    bootstrap_interval,
    factor_interval,
    hierarchical_interval,
    percentile_interval,
)


def scores(seeds, problems, *, seed=0, spread=0.05, mean=0.6):
    """Correct or not, of `seeds` models whose ability varies by `spread`, on problems of varying difficulty."""
    rng = np.random.default_rng(seed)
    ability = mean + spread * rng.standard_normal((seeds, 1)) + 0.15 * rng.standard_normal((1, problems))
    return (rng.random((seeds, problems)) < ability).astype(float)


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std])
def test_against_scipy(statistic):
    values = np.random.default_rng(3).normal(size=80)
    expected = stats.bootstrap(
        (values,), statistic, n_resamples=9999, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = bootstrap_interval(values, statistic, resamples=9999)
    assert ours.value == statistic(values)
    assert ours.low == pytest.approx(expected.low, abs=0.02)
    assert ours.high == pytest.approx(expected.high, abs=0.02)


def test_one_seed_is_the_plain_bootstrap_over_problems():
    values = scores(1, 120)
    expected = stats.bootstrap(
        (values[0],), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = hierarchical_interval(values, resamples=9999)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_draws_are_means_of_a_resampled_grid():
    values = scores(3, 20)
    seeds, problems = Resampler(3, 20, resamples=50), np.empty((50, 3, 20))
    for s in range(3):
        for p in range(20):
            one = np.zeros((3, 20))
            one[s, p] = 1
            problems[:, s, p] = seeds.means(one)
    np.testing.assert_allclose(problems.sum(axis=(1, 2)), 1)
    counts = problems * 3 * 20
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    np.testing.assert_allclose(seeds.means(values), (problems * values).sum(axis=(1, 2)))


def test_coverage_over_seeds_and_problems():
    """About 95 % of the intervals over 5 seeds x 60 problems hold the mean of all seeds and all problems."""
    trials = 300
    held = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        ability = 0.5 + 0.04 * rng.standard_normal((5, 1)) + 0.2 * rng.uniform(-1, 1, (1, 60))
        interval = hierarchical_interval((rng.random((5, 60)) < ability).astype(float), resamples=400, seed=trial)
        held += interval.low <= 0.5 <= interval.high
    assert 0.9 <= held / trials <= 0.99


def test_ignoring_seeds_would_undercover():
    """With unequal seeds the interval over problems alone is much narrower than the one over both."""
    values = scores(4, 400, spread=0.2)
    both, problems = hierarchical_interval(values), bootstrap_interval(values.mean(axis=0))
    assert both.high - both.low > 2 * (problems.high - problems.low)


def test_factor_interval_holds_its_value_and_matches_a_plain_loop():
    inside, outside = scores(3, 120, mean=0.9), scores(3, 90, seed=1, mean=0.4)
    interval = factor_interval(inside, outside, resamples=4000)
    assert interval.value == generalization_factor(inside.mean(), outside.mean())
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(4000):
        s, p, q = rng.integers(3, size=3), rng.integers(120, size=120), rng.integers(90, size=90)
        draws.append(generalization_factor(inside[np.ix_(s, p)].mean(), outside[np.ix_(s, q)].mean()))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.02)


def test_cells_share_seed_draws_but_not_problem_draws():
    by_seed = np.repeat([[0.0], [1.0], [5.0]], 40, axis=1)
    by_problem = np.repeat(np.arange(40.0)[None], 3, axis=0)
    inside, outside = Resampler(3, 40, "id"), Resampler(3, 40, "ood")
    np.testing.assert_allclose(inside.means(by_seed), outside.means(by_seed))
    correlation = np.corrcoef(inside.means(by_problem), outside.means(by_problem))[0, 1]
    assert abs(correlation) < 0.1


def test_differences_of_arms_are_paired():
    """An arm that is better by 0.1 on every problem is better by 0.1 in every resample."""
    arm = scores(3, 50)
    better, worse = Resampler(3, 50, "id").means(arm + 0.1), Resampler(3, 50, "id").means(arm)
    np.testing.assert_allclose(better - worse, 0.1)


def test_undefined_draws_count_as_worst():
    draws = np.concatenate([np.full(10, np.nan), np.linspace(0, 1, 990)])
    few = percentile_interval(0.5, draws)
    assert few.low == pytest.approx(0.015, abs=0.002)
    many = percentile_interval(0.5, np.concatenate([np.full(100, np.nan), np.linspace(0, 1, 900)]))
    assert np.isnan(many.low)
    assert many.high == pytest.approx(0.972, abs=0.002)


def test_repeats_exactly_and_depends_on_the_seed():
    values = scores(3, 60)
    assert hierarchical_interval(values, seed=1) == hierarchical_interval(values, seed=1)
    assert hierarchical_interval(values, seed=1) != hierarchical_interval(values, seed=2)


def test_constant_data_has_no_width():
    interval = hierarchical_interval(np.full((3, 10), 0.25))
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.25, 0.25, 0.25))


def test_2000_resamples_of_3_seeds_and_120_problems_take_less_than_300_ms():
    values = scores(3, 120)
    start = time.process_time()
    hierarchical_interval(values)
    assert time.process_time() - start < 0.3


def test_empty_data_is_refused():
    with pytest.raises(ValueError, match="P > 0"):
        bootstrap_interval(np.array([]))
    with pytest.raises(ValueError, match="cannot resample"):
        Resampler(0, 5)
    with pytest.raises(ValueError, match="2 seeds are measured on ID, 3 on OOD"):
        factor_interval(scores(2, 5), scores(3, 5))
