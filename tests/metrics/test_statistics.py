"""Intervals against scipy, by coverage, and by their invariances."""

import time

import numpy as np
import pytest
from scipy import stats

from specs_lab.metrics.generalization_factor import generalization_factor
from specs_lab.metrics.statistics import (
    Resampler,
    bootstrap_interval,
    combine,
    factor_interval,
    hierarchical_interval,
    percentile_interval,
    student_quantile,
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


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 100])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_student_quantiles_against_scipy(freedom, level):
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-5)


def test_without_differences_between_problems_it_is_students_interval():
    by_seed = np.array([0.2, 0.5, 0.9, 0.4])
    ours = hierarchical_interval(np.repeat(by_seed[:, None], 30, axis=1))
    expected = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), rel=1e-5)


def test_without_differences_between_seeds_it_is_the_bootstrap_over_problems():
    one = scores(1, 120)
    ours, expected = hierarchical_interval(np.repeat(one, 3, axis=0)), hierarchical_interval(one)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high))


def test_squares_of_half_widths_add():
    values = scores(3, 60)
    whole, problems = hierarchical_interval(values), hierarchical_interval(values.mean(axis=0, keepdims=True))
    error = stats.t.ppf(0.975, 2) * values.mean(axis=1).std(ddof=1) / np.sqrt(3)
    for end in ("low", "high"):
        half, over_problems = (abs(getattr(one, end) - whole.value) for one in (whole, problems))
        assert half**2 == pytest.approx(error**2 + over_problems**2, rel=1e-5)


def test_draws_are_means_over_resampled_problems():
    picks = Resampler(20, resamples=50).means(np.eye(20)[:, None, :]).draws.T
    np.testing.assert_allclose(picks.sum(axis=1), 1)
    np.testing.assert_allclose(picks * 20, (picks * 20).round(), atol=1e-9)
    values = scores(3, 20)
    np.testing.assert_allclose(Resampler(20, resamples=50).means(values).draws, picks @ values.mean(axis=0))


def test_each_seed_is_left_out_once():
    values = scores(3, 20)
    expected = [np.delete(values, seed, axis=0).mean() for seed in range(3)]
    np.testing.assert_allclose(Resampler(20).means(values).without, expected)


@pytest.mark.parametrize("seeds", [2, 5])
def test_coverage_over_seeds_and_problems(seeds):
    """At least about 95 % of the intervals hold the mean of all seeds and all problems, but not every one does."""
    trials = 400
    held = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        ability = 0.5 + 0.15 * rng.standard_normal((seeds, 1)) + 0.2 * rng.uniform(-1, 1, (1, 60))
        values = (rng.random((seeds, 60)) < ability).astype(float)
        interval = hierarchical_interval(values, resamples=300, seed=trial)
        held += interval.low <= 0.5 <= interval.high
    assert 0.93 <= held / trials <= 0.995


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.04, 0.12])
def test_equal_arms_are_rarely_told_apart(seeds, spread):
    """Two equal arms on the same 120 problems: a difference whose 95 % interval leaves out 0 is a false positive."""
    trials, problems = 500, 120
    rng = np.random.default_rng(seeds)
    difficulty = rng.uniform(-0.2, 0.2, (trials, 1, 1, problems))
    ability = 0.6 + spread * rng.standard_normal((trials, 2, seeds, 1)) + difficulty
    first, second = np.moveaxis(rng.random(ability.shape) < ability, 1, 0)
    resampler = Resampler(problems, resamples=400)
    differences = resampler.means(second) - resampler.means(first)
    intervals = [differences[trial].interval(difference=True) for trial in range(trials)]
    false = np.mean([not one.low <= 0 <= one.high for one in intervals])
    plain = np.mean([not low <= 0 <= high for low, high in np.quantile(differences.draws, [0.025, 0.975], axis=1).T])
    assert false <= 0.08
    assert plain > 0.08  # problems alone would tell them apart: the bound above is not met by chance


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
        p, q = rng.integers(120, size=120), rng.integers(90, size=90)
        draws.append(generalization_factor(inside[:, p].mean(), outside[:, q].mean()))
    left = [np.delete(np.arange(3), seed) for seed in range(3)]
    without = [generalization_factor(inside[keep].mean(), outside[keep].mean()) for keep in left]
    reach = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.square(without - np.mean(without)).sum())
    low, high = (np.hypot(reach, end - interval.value) for end in np.quantile(draws, [0.025, 0.975]))
    assert (interval.value - interval.low, interval.high - interval.value) == pytest.approx((low, high), abs=0.02)


def test_cells_do_not_share_draws():
    by_problem = np.arange(40.0)[None]
    inside, outside = (Resampler(40, name).means(by_problem).draws for name in ("id", "ood"))
    assert abs(np.corrcoef(inside, outside)[0, 1]) < 0.1


def test_differences_of_arms_are_paired():
    """An arm that is better by 0.1 on every problem is better by 0.1 however problems and seeds are drawn."""
    arm = scores(3, 50)
    difference = Resampler(50, "id").means(arm + 0.1) - Resampler(50, "id").means(arm)
    interval = difference.interval(difference=True)
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_undefined_draws_count_as_worst():
    draws = np.concatenate([np.full(10, np.nan), np.linspace(0, 1, 990)])
    few = percentile_interval(0.5, draws)
    assert few.low == pytest.approx(0.015, abs=0.002)
    many = percentile_interval(0.5, np.concatenate([np.full(100, np.nan), np.linspace(0, 1, 900)]))
    assert np.isnan(many.low)
    assert many.high == pytest.approx(0.972, abs=0.002)


def test_undefined_draws_of_a_difference_could_be_anything():
    draws = np.concatenate([np.full(10, np.nan), np.linspace(0, 1, 990)])
    few = percentile_interval(0.5, draws, difference=True)
    assert (few.low, few.high) == pytest.approx((0.015, 0.985), abs=0.002)
    many = percentile_interval(0.5, np.concatenate([np.full(100, np.nan), np.linspace(0, 1, 900)]), difference=True)
    assert np.isnan([many.low, many.high]).all()


def test_a_seed_without_which_a_statistic_is_undefined_leaves_it_without_interval():
    gains = Resampler(30).means(np.repeat([[0.9], [-0.1], [-0.1]], 30, axis=1))
    roots = combine(lambda share: np.sqrt(np.where(share >= 0, share, np.nan)), gains)
    interval = roots.interval()
    assert interval.value == pytest.approx(np.sqrt(0.7 / 3))
    assert np.isnan([interval.low, interval.high]).all()


def test_intervals_are_clipped_to_their_bounds():
    wide = Resampler(30).means(np.repeat([[0.1], [0.9]], 30, axis=1))
    assert wide.interval().low < 0
    clipped = wide.interval(bounds=(0.0, 1.0))
    assert (clipped.low, clipped.high) == (0.0, 1.0)


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
        Resampler(0)
    with pytest.raises(ValueError, match="2 seeds are measured on ID, 3 on OOD"):
        factor_interval(scores(2, 5), scores(3, 5))
