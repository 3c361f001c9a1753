"""Operations and bytes, worked out by hand for a model of a few weights."""

from dataclasses import replace

import pytest

from specs_lab.preflight.loads import Adapter, Pass, Setup
from specs_lab.preflight.shapes import Layers, ModelShape
from specs_lab.scaling.architectures import KNOWN, shape_of_repo
from specs_lab.scaling.rollouts import Rollout, cache_bytes, decode, prefill
from specs_lab.scaling.steps import Step, training_work
from specs_lab.scaling.work import budget_of, forward, optimiser, scores, tower, train

# Two layers of width 4: query, key, value, out (4 x 4 each) and up, down (8 x 4, 4 x 8); a vocabulary of 10.
MATRICES = ((4, 4),) * 8 + ((8, 4), (4, 8)) * 2
LAYERS = Layers(
    count=2,
    hidden=4,
    feed_forward=8,
    query=4,
    key=4,
    gated=False,
    query_norm=False,
    parameters=sum(o * i for o, i in MATRICES),
    matrices=MATRICES,
)
TOWER = replace(LAYERS, count=1, parameters=100)
SHAPE = ModelShape(
    text=LAYERS,
    tower=TOWER,
    vocabulary=10,
    tied=False,
    embedding_parameters=80,
    tower_parameters=120,
    other_parameters=4,
    heads=1,
    positions=None,
    patch=14,
    merge=2,
)
# Two prompts of 6 tokens, with 3 completions of 5 each: 4 of these are fed to the model.
LOAD = Pass(prompts=2, prompt_tokens=6, branches=3, completion_tokens=5)
TOKENS = 2 * (6 + 3 * 4)
HEAD = 10 * 4


def _without_attention() -> ModelShape:
    return replace(SHAPE, text=replace(LAYERS, query=0))


def test_the_hand_worked_model_has_256_parameters_in_its_layers():
    assert LAYERS.parameters == 8 * 16 + 4 * 32 == 256


def test_scores_are_counted_once_for_a_shared_prompt():
    assert scores(LOAD) == 2 * (6 * 6 / 2 + 3 * (4 * 6 + 4 * 4 / 2)) == 228
    assert scores(replace(LOAD, shared=False)) == 2 * 3 * 11 * 11 / 2


def test_forward_flops_are_two_a_parameter_and_token_the_head_at_completions_only():
    layers, head, attention = 2 * 256 * TOKENS, 2 * HEAD * 2 * 3 * 5, 4 * 4 * 2 * 228
    assert forward(SHAPE, Setup(), LOAD).flops == layers + head + attention


def test_training_flops_are_six_a_parameter_and_token():
    layers, head, attention = 6 * 256 * TOKENS, 6 * HEAD * 30, 4 * 4 * 2 * 228 * 3.5
    assert train(SHAPE, Setup(), LOAD).flops == layers + head + attention


def test_what_is_recomputed_is_a_third_more():
    plain, again = (train(SHAPE, Setup(checkpointing=on), LOAD).flops for on in (False, True))
    assert again - plain == 2 * 256 * TOKENS + 4 * 4 * 2 * 228


def test_frozen_weights_need_no_gradients_of_their_own():
    adapter = Adapter(rank=1)
    learning = adapter.parameters(LAYERS)
    frozen = train(SHAPE, Setup(adapter=adapter), LOAD).flops
    assert frozen == (4 * 256 + 6 * learning) * TOKENS + 4 * HEAD * 30 + 4 * 4 * 2 * 228 * 3.5


def test_without_attention_and_with_the_head_everywhere_it_is_what_budgets_say():
    """The budget counts the head at all tokens and leaves attention out."""
    budget = budget_of(SHAPE, Setup())
    budget.train(TOKENS)
    here = train(SHAPE, Setup(), LOAD).flops - 4 * 4 * 2 * 228 * 3.5 + 6 * HEAD * (TOKENS - 30)
    assert here == budget.flops
    budget = budget_of(SHAPE, Setup())
    budget.forward(TOKENS)
    assert forward(SHAPE, Setup(), LOAD).flops - 4 * 4 * 2 * 228 + 2 * HEAD * (TOKENS - 30) == budget.flops


def test_sharing_prompts_saves_work_and_long_completions_leave_less_to_save():
    def saved(completion: int) -> float:
        load = Pass(prompts=1, prompt_tokens=100, branches=8, completion_tokens=completion)
        return train(SHAPE, Setup(), replace(load, shared=False)).flops / train(SHAPE, Setup(), load).flops

    assert saved(10) > saved(100) > saved(1000) > 1


def test_weights_are_read_twice_and_gradients_written_for_each_micro_batch():
    one, three = (train(SHAPE, Setup(), LOAD, passes).weights for passes in (1, 3))
    assert one == 2 * 4 * (256 + HEAD) + 2 * 4 * (256 + HEAD)
    assert three == 3 * one


def test_the_optimizer_moves_forty_bytes_a_weight_and_eight_bits_move_fewer():
    assert optimiser(SHAPE, Setup()).states == 40 * SHAPE.text_parameters
    assert optimiser(SHAPE, Setup(optimiser="adamw_8bit")).states == 28 * SHAPE.text_parameters


def test_the_tower_runs_on_patches_and_its_projector_on_merged_ones():
    work = tower(SHAPE, Setup(), patches=32, pictures=2)
    context = 16  # fewer patches a picture than a window has
    assert work.flops == 2 * (100 * 32 + 20 * 32 / 4) + 4 * 4 * 1 * 32 * context
    assert tower(SHAPE, Setup(), 32, 2, learns=True).flops == 3 * work.flops


def test_a_decoded_token_reads_all_weights_once_and_a_shared_prompt_once():
    load = Rollout(prompts=2, group=3, prompt_tokens=6, mean=8, most=8, batch=6)
    ((steps, work),) = decode(SHAPE, Setup(), load)
    assert steps == 8
    assert work.weights == 4 * (256 + HEAD)
    assert work.cache == 2 * 4 * 2 * 4 * (2 * 6 + 6 * 4)  # halfway through a response
    assert work.flops == 6 * (2 * (256 + HEAD) + 4 * 4 * 2 * (6 + 4))
    ((_, apart),) = decode(SHAPE, Setup(), replace(load, shared=False))
    assert apart.cache == 2 * 4 * 2 * 4 * (6 * 6 + 6 * 4)


def test_prompts_are_encoded_once_or_once_for_each_response():
    load = Rollout(prompts=2, group=3, prompt_tokens=6, mean=8, most=8)
    assert prefill(SHAPE, Setup(), replace(load, shared=False)).flops == 3 * prefill(SHAPE, Setup(), load).flops


def test_sampled_tokens_of_a_batch_do_not_depend_on_how_lengths_are_spread():
    for spread in (0.0, 0.5, 1.0):
        load = Rollout(prompts=64, group=8, prompt_tokens=6, mean=100, most=2000, spread=spread, batch=512)
        rows = sum(steps * work.flops for steps, work in decode(_without_attention(), Setup(), load))
        assert rows / (2 * (256 + HEAD)) == pytest.approx(512 * 100, rel=0.02)


def test_the_longest_response_is_waited_for_up_to_the_limit():
    load = Rollout(prompts=64, group=8, prompt_tokens=6, mean=100, most=2000, spread=1.0)
    assert load.longest(1) == 100
    assert load.longest(512) == pytest.approx(100 * (6.238 + 0.577), rel=1e-3)
    assert replace(load, most=300).longest(512) == 300
    assert replace(load, spread=0.0).longest(512) == 100


def test_caches_hold_keys_and_values_of_all_layers():
    load = Rollout(prompts=2, group=3, prompt_tokens=6, mean=8, most=8, batch=6)
    assert cache_bytes(SHAPE, Setup(half=True), load) == 2 * 4 * 2 * 2 * (2 * 6 + 6 * 8 / 2)


def test_several_updates_and_a_reference_are_work_of_their_own():
    once = training_work(SHAPE, Setup(), Step(load=LOAD))
    more = training_work(SHAPE, Setup(), Step(load=LOAD, updates=4, references=1))
    assert [count for count, _ in once] == [1, 1]
    assert [count for count, _ in more] == [4, 4, 1]


@pytest.mark.parametrize(
    ("repo", "parameters"),
    list(zip(KNOWN, (3_754_622_976, 8_292_166_656, 33_452_718_336, 73_410_777_344), strict=True)),
)
def test_published_models_have_their_published_number_of_parameters(repo: str, parameters: int):
    shape = shape_of_repo(repo)
    assert shape is not None
    assert shape.parameters == parameters


def test_an_unknown_repository_has_no_shape():
    assert shape_of_repo("Qwen/none") is None
