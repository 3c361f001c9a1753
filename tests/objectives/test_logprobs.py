"""Log-probabilities from hidden states: chunks against everything at once, and against float64 by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from specs_lab.objectives.logprobs import nucleus_size, token_statistics

N, HIDDEN, VOCAB = 37, 16, 50


def _inputs(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, HIDDEN, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, HIDDEN, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(VOCAB, (N,), generator=generator)
    upstream = torch.randn(N, generator=generator, dtype=torch.float64)
    return hidden, weight, targets, upstream


def _twin(hidden, weight, targets, temperature):
    """Naive, in float64: the whole softmax."""
    logits = hidden.double() @ weight.double().T / temperature
    return torch.log_softmax(logits, -1)[torch.arange(len(targets)), targets]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("chunk", [None, 1, VOCAB * 5, VOCAB * 1000], ids=["direct", "one", "five", "all"])
def test_against_a_float64_twin(chunk, temperature):
    hidden, weight, targets, upstream = _inputs()
    how = {} if chunk is None else {"direct_up_to": 0, "chunk": chunk}
    found = token_statistics(hidden, weight, targets, temperature=temperature, **how).logprobs
    gradients = torch.autograd.grad((found * upstream.float()).sum(), (hidden, weight))
    expected = _twin(hidden, weight, targets, temperature)
    wanted = torch.autograd.grad((expected * upstream).sum(), (hidden, weight))
    assert_close(found, expected.float(), atol=2e-6, rtol=1e-6)
    for one, other in zip(gradients, wanted, strict=True):
        assert_close(one, other, atol=2e-5, rtol=1e-5)


def test_chunks_have_exact_gradients_in_float64():
    hidden, weight, targets, _ = _inputs(torch.float64)

    def chunked(h, w):
        return token_statistics(h, w, targets, temperature=0.7, direct_up_to=0, chunk=VOCAB * 4).logprobs

    assert torch.autograd.gradcheck(lambda h: chunked(h, weight.detach()), (hidden,))
    assert torch.autograd.gradcheck(lambda w: chunked(hidden.detach(), w), (weight,))


def test_what_needs_no_gradient_gets_none():
    hidden, weight, targets, upstream = _inputs()
    for wants in (hidden, weight):
        other = {True: hidden.detach(), False: hidden}[wants is weight], weight if wants is weight else weight.detach()
        found = token_statistics(*other, targets, direct_up_to=0, chunk=VOCAB).logprobs
        (gradient,) = torch.autograd.grad((found * upstream.float()).sum(), (wants,))
        assert torch.isfinite(gradient).all()


def test_half_precision_sums_in_float32():
    """bfloat16 states and weights: as exact as their own rounding, forward and backward, in any chunks."""
    hidden, weight, targets, upstream = _inputs(torch.bfloat16)
    results = []
    for chunk in (VOCAB, VOCAB * 100):
        found = token_statistics(hidden, weight, targets, direct_up_to=0, chunk=chunk).logprobs
        assert found.dtype == torch.float32
        results.append(torch.autograd.grad((found * upstream.float()).sum(), weight)[0].float())
    expected = torch.autograd.grad((_twin(hidden, weight, targets, 1.0) * upstream).sum(), weight)[0].float()
    assert_close(results[0], results[1], atol=0.02, rtol=0.02)
    assert (results[0] - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("how", [{}, {"direct_up_to": 0, "chunk": VOCAB * 5}])
def test_entropy_and_nucleus(how):
    hidden, weight, targets, _ = _inputs()
    found = token_statistics(hidden, weight, targets, temperature=0.5, spread=True, **how)
    shares = torch.softmax(hidden.double() @ weight.double().T / 0.5, -1)
    for i, row in enumerate(shares.tolist()):
        assert found.entropy[i].item() == pytest.approx(-sum(p * math.log(p) for p in row), abs=1e-5)
        largest, mass, size = sorted(row, reverse=True), 0.0, 0
        while mass < 0.95:
            mass, size = mass + largest[size], size + 1
        assert found.nucleus[i] == size
    assert not found.entropy.requires_grad


def test_nucleus_by_hand():
    assert nucleus_size(torch.tensor([[0.6, 0.3, 0.06, 0.04], [1.0, 0, 0, 0], [0.25] * 4])).tolist() == [3, 1, 4]


def test_no_token_at_all():
    hidden, weight, targets, _ = _inputs()
    found = token_statistics(hidden[:0], weight, targets[:0], direct_up_to=0, chunk=VOCAB).logprobs
    assert found.shape == (0,)
    gradient = torch.autograd.grad(found.sum(), weight)[0]
    assert not gradient.any()
