"""How tokens are drawn, and what a transcript keeps."""

import pytest
import torch
from transformers import TopPLogitsWarper

from specs_lab.rollout.sampling import Sampling, Transcript, choose, nucleus, pick, random_numbers, uniforms

NEVER = torch.tensor([], dtype=torch.long)


def test_pick_inverts_the_cumulative_distribution():
    weights = torch.tensor([[0.2, 0.4, 1.4]])  # need not add up to 1
    uniform = torch.tensor([0.0, 0.099, 0.101, 0.299, 0.301, 0.999], dtype=torch.float64)
    assert [int(pick(weights, u[None])) for u in uniform] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("total", [1.0, 0.3, 1e-3, 7.7])
def test_pick_never_takes_an_impossible_token_at_the_ends(total):
    weights = torch.tensor([[0.0, total, 0.0]])
    for u in (0.0, 1 - 2**-53):
        assert int(pick(weights, torch.tensor([u], dtype=torch.float64))) == 1


def test_choices_follow_the_tempered_distribution():
    logits = torch.tensor([1.0, 0.0, -1.0, -torch.inf])
    uniform = torch.from_numpy(uniforms("frequencies", 20_000))
    tokens, logprobs = choose(logits.expand(20_000, -1), 0.5, uniform, NEVER)
    expected = torch.log_softmax(logits / 0.5, -1)
    frequencies = torch.bincount(tokens, minlength=4) / 20_000
    torch.testing.assert_close(frequencies, expected.exp(), atol=0.01, rtol=0)
    assert frequencies[3] == 0
    torch.testing.assert_close(logprobs, expected[tokens])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_forbidden_tokens_are_not_chosen_but_keep_their_share(temperature):
    """The log-probability is the model's own, as the training forward pass has it, not one renormalised."""
    logits = torch.tensor([[2.0, 1.0, 5.0]]).expand(50, -1)
    tokens, logprobs = choose(logits, temperature, torch.from_numpy(uniforms("x", 50)), torch.tensor([2]))
    assert set(tokens.tolist()) == ({0} if temperature == 0 else {0, 1})
    torch.testing.assert_close(logprobs, torch.log_softmax(logits[0], -1)[tokens])


def test_random_numbers_belong_to_names():
    one, two = random_numbers(["a", "b"], 5), random_numbers(["b", "c", "a"], 5)
    assert torch.equal(one[0], two[2])
    assert torch.equal(one[1], two[0])
    assert not torch.equal(one[0], one[1])


def test_transcript_keeps_what_was_written_and_flags_what_was_cut():
    transcript = Transcript(3, 4, 0, torch.device("cpu"))
    everyone = torch.tensor([0, 1, 2])
    transcript.write(0, everyone, torch.tensor([5, 6, 9]), torch.tensor([-1.0, -2.0, -3.0]), torch.ones(3).bool())
    alive = torch.tensor([True, True, False])
    transcript.write(1, everyone, torch.tensor([7, 9, 8]), torch.tensor([-4.0, -5.0, -6.0]), alive)
    made = transcript.completions(end_ids=[9, 10])
    assert [one.token_ids for one in made] == [(5, 7), (6, 9), (9,)]
    assert [one.logprobs for one in made] == [(-1, -4), (-2, -5), (-3,)]
    assert [one.truncated for one in made] == [True, False, False]


# --- nucleus sampling -------------------------------------------------------------------------------------------------


def naive_nucleus(weights: list[float], top_p: float) -> list[float]:
    total, before, kept = sum(weights), 0.0, [0.0] * len(weights)
    for index in sorted(range(len(weights)), key=lambda i: -weights[i]):
        if before < top_p * total:
            kept[index] = weights[index]
        before += weights[index]
    return kept


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.5, 0.95, 0.999])
def test_the_nucleus_against_a_naive_twin_and_transformers(top_p):
    logits = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    weights = logits.softmax(-1)
    kept = nucleus(weights, top_p)
    expected = torch.tensor([naive_nucleus(row, top_p) for row in weights.double().tolist()])
    torch.testing.assert_close(kept.double(), expected, check_dtype=False)
    theirs = TopPLogitsWarper(top_p)(torch.zeros(50, 1, dtype=torch.long), logits)
    assert torch.equal(kept > 0, theirs > -torch.inf)


def test_the_nucleus_reaches_the_share_with_as_few_tokens_as_possible():
    weights = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert [int((nucleus(weights, p) > 0).sum()) for p in (0.01, 0.49, 0.51, 0.74, 0.76, 0.95)] == [1, 1, 2, 2, 3, 4]
    assert nucleus(torch.ones(1, 4), 0.5).tolist() == [[1.0, 1.0, 0.0, 0.0]]  # of equal ones the first


def test_drawing_from_a_nucleus_follows_its_renormalised_distribution():
    logits = torch.tensor([1.0, 0.0, -1.0, -4.0, 3.0])
    never = torch.tensor([4])  # likeliest, but not to be drawn: the share is one of the rest
    tokens, logprobs = choose(
        logits.expand(20_000, -1), 1.0, torch.from_numpy(uniforms("nucleus", 20_000)), never, top_p=0.8
    )
    frequencies = torch.bincount(tokens, minlength=5) / 20_000
    expected = torch.tensor([1.0, 0.0]).softmax(-1)
    torch.testing.assert_close(frequencies, torch.cat([expected, torch.zeros(3)]), atol=0.01, rtol=0)
    torch.testing.assert_close(logprobs, torch.log_softmax(logits, -1)[tokens])  # of the whole distribution


def test_a_share_of_one_changes_nothing_and_greedy_takes_no_notice():
    logits = torch.randn(200, 30, generator=torch.Generator().manual_seed(1))
    uniform = torch.from_numpy(uniforms("y", 200))
    for one, other in zip(choose(logits, 0.7, uniform, NEVER), choose(logits, 0.7, uniform, NEVER, 1.0), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(choose(logits, 0.0, uniform, NEVER, 0.1)[0], logits.argmax(-1))


@pytest.mark.parametrize("top_p", [0.0, -0.1, 1.01])
def test_impossible_shares_are_refused(top_p):
    with pytest.raises(ValueError, match="top_p"):
        Sampling(top_p=top_p)
