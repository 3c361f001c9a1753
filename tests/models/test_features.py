"""The bound of the feature cache is one of memory, and the longest unused goes first."""

import torch

from specs_lab.models.features import FeatureCache


def _features(tokens: int):
    return (torch.zeros(tokens, 4),)  # 16 bytes a token


def test_the_longest_unused_goes_first():
    cache = FeatureCache(48)
    for key in "abc":
        cache.put(key, _features(1))
    assert cache.get("a") is not None
    cache.put("d", _features(1))
    assert [key in cache for key in "abcd"] == [True, False, True, True]


def test_the_bound_is_never_exceeded():
    cache = FeatureCache(100)
    for i, tokens in enumerate((1, 3, 2, 6, 1, 7, 2)):
        cache.put(str(i), _features(tokens))
        assert cache.bytes <= 100
        assert cache.bytes == sum(16 * len(cache.get(k)[0]) for k in map(str, range(7)) if k in cache)
    assert "5" not in cache  # larger than the bound alone


def test_replacing_counts_once():
    cache = FeatureCache(100)
    for tokens in (1, 4, 2):
        cache.put("a", _features(tokens))
    assert (len(cache), cache.bytes) == (1, 32)
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_what_is_kept_is_no_view_and_has_no_history():
    batch = torch.zeros(100, 4, requires_grad=True)
    cache = FeatureCache(1000)
    cache.put("a", (batch[:2] * 2,))
    (kept,) = cache.get("a")
    assert not kept.requires_grad
    assert kept.untyped_storage().nbytes() == 32
