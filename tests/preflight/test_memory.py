from dataclasses import replace

import pytest

from specs_lab.models.attention import DecodePlan
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.objectives import logprobs
from specs_lab.preflight import memory
from specs_lab.preflight.loads import Adapter, Decoding, Pass, Setup
from specs_lab.preflight.memory import estimate, trainable_parameters
from specs_lab.preflight.shapes import ModelShape, shape_of_folder

LOAD = Pass(prompts=4, prompt_tokens=100, branches=2, completion_tokens=50, patches=64)
SAMPLING = Decoding(rows=8, prompts=4, prompt_tokens=100, new_tokens=50)
LORA = Adapter(rank=8)


@pytest.fixture(scope="module")
def shape() -> ModelShape:
    return shape_of_folder(CHECKPOINTS / "small-0")


def test_constants_are_those_of_the_code_that_is_estimated():
    assert memory.CHUNK == logprobs.CHUNK
    assert memory.DIRECT_LOGITS == logprobs.DIRECT_UP_TO
    assert DecodePlan.__init__.__defaults__ == (memory.CACHE_BLOCK,)


def test_full_training_holds_weights_and_two_moments(shape: ModelShape):
    held = estimate(shape, Setup(), LOAD).held
    assert held["weights"] == 4 * shape.parameters
    assert held["optimizer states"] == 8 * shape.text_parameters
    assert "reference copy" not in held


def test_eight_bit_moments_take_a_quarter(shape: ModelShape):
    states = [estimate(shape, Setup(optimiser=name), LOAD).held["optimizer states"] for name in memory.ADAM_BYTES]
    assert states[0] == 4 * states[1]


def test_only_full_training_holds_a_copy_as_reference(shape: ModelShape):
    full = estimate(shape, Setup(copied_reference=True), LOAD).held
    lora = estimate(shape, Setup(copied_reference=True, adapter=LORA), LOAD).held
    assert full["reference copy"] == full["weights"]
    assert "reference copy" not in lora


def test_four_bit_weights_take_about_an_eighth_of_float32(shape: ModelShape):
    quantised = sum(o * i for o, i in shape.text.matrices)
    plain, packed = (
        estimate(shape, Setup(adapter=replace(LORA, four_bit=bits)), LOAD).held["weights"] for bits in (False, True)
    )
    assert plain - packed == pytest.approx((4 - 0.52) * quantised, rel=1e-3)


def test_an_adapter_has_two_factors_a_matrix(shape: ModelShape):
    assert trainable_parameters(shape, Setup(adapter=LORA)) == sum(8 * (o + i) for o, i in shape.text.matrices)
    dora = replace(LORA, dora=True)
    assert dora.parameters(shape.text) - LORA.parameters(shape.text) == sum(o for o, _ in shape.text.matrices)


@pytest.mark.parametrize(
    "less", [Setup(checkpointing=True), Setup(half=True), Setup(adapter=LORA), Setup(adapter=LORA, half=True)]
)
def test_what_saves_memory_is_estimated_to_do_so(shape: ModelShape, less: Setup):
    assert estimate(shape, less, LOAD).peak < estimate(shape, Setup(), LOAD).peak


def test_sampling_keeps_the_last_gradients_only_if_something_is_trained(shape: ModelShape):
    assert "gradients" not in estimate(shape, Setup(), None, SAMPLING).sampling
    assert estimate(shape, Setup(), LOAD, SAMPLING).sampling["gradients"] == 4 * shape.text_parameters
    assert "optimizer states" not in estimate(shape, Setup(), None, SAMPLING).held


def test_micro_batches_hold_whole_pairs_and_parts_of_groups():
    pairs = Pass.within(500, 8, 100, 2, 50)
    assert (pairs.prompts, pairs.branches, pairs.alone) == (2, 2, False)
    assert Pass.within(10_000, 8, 100, 2, 50).alone
    long_pair = Pass.within(100, 8, 100, 2, 50)
    assert (long_pair.prompts, long_pair.branches) == (1, 2)
    group = Pass.within(300, 2, 100, 8, 50, whole=False)
    assert (group.prompts, group.branches, group.alone) == (1, 4, False)
