"""References never change, and cost what they say."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close

from specs_lab.models.reference import AdapterOff, FrozenCopy, make_reference, sequence_logps
from specs_lab.models.vlm import VLM

# PEFT still reads a name that transformers has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def _train_one_step(vlm, rows):
    optimizer = torch.optim.SGD([p for p in vlm.parameters() if p.requires_grad], lr=0.1)
    vlm.logprobs(rows).logprobs.sum().backward()
    optimizer.step()


@pytest.fixture
def lora_vlm(toy_vlm):
    config = LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)", init_lora_weights=False)
    return VLM(get_peft_model(toy_vlm.model, config), toy_vlm.processor)


def test_copy_keeps_the_start(toy_vlm, toy_rows):
    reference = make_reference(toy_vlm)
    assert isinstance(reference, FrozenCopy)
    before = toy_vlm.logprobs(toy_rows).logprobs.detach()
    _train_one_step(toy_vlm, toy_rows)
    assert_close(reference.logprobs(toy_rows).logprobs, before, atol=0, rtol=0)
    assert (toy_vlm.logprobs(toy_rows).logprobs - before).abs().max() > 1e-3


def test_adapter_off_is_the_base_model(lora_vlm, toy_vlm, toy_rows):
    reference = make_reference(lora_vlm)
    assert isinstance(reference, AdapterOff)
    off = reference.logprobs(toy_rows).logprobs
    on = lora_vlm.logprobs(toy_rows).logprobs.detach()
    assert (on - off).abs().max() > 1e-3
    _train_one_step(lora_vlm, toy_rows)
    assert_close(reference.logprobs(toy_rows).logprobs, off, atol=0, rtol=0)
    with lora_vlm.model.disable_adapter(), torch.no_grad():
        assert_close(lora_vlm.logprobs(toy_rows).logprobs, off, atol=0, rtol=0)


@pytest.mark.parametrize("tokens", [1, 150, 1 << 20])
def test_sequence_logps_are_microbatch_invariant(toy_vlm, toy_rows, tokens):
    reference = make_reference(toy_vlm)
    expected = [float(reference.logprobs([row]).logprobs.sum()) for row in toy_rows]
    assert_close(sequence_logps(reference, toy_rows, tokens), torch.tensor(expected), atol=1e-4, rtol=0)


def test_moving_or_casting_the_policy_leaves_the_copy_alone(toy_vlm, toy_rows):
    reference = make_reference(toy_vlm)
    before = reference.logprobs(toy_rows).logprobs
    toy_vlm.model.train()
    toy_vlm.to(torch.bfloat16).image_features([row.prompt for row in toy_rows])
    assert_close(reference.logprobs(toy_rows).logprobs, before, atol=0, rtol=0)
    assert all(part.training for part in toy_vlm.model.modules())
