import zlib
from dataclasses import replace

import pytest

from benchmarks.cases import CPU_CASES, CUDA_CASES, Case, Order
from benchmarks.data import examples, given_text, prompt_tokens, reward, stream
from benchmarks.models import SHAPES, build, make_processor
from benchmarks.tokens import WORDS, make_tokenizer, word

CASE = Case(method="dpo", prompts=2, image=56, completion=17, text=9)


@pytest.fixture(scope="module")
def processor():
    return make_processor(make_tokenizer(SHAPES["mini"].vocab))


def length(processor, text: str) -> int:
    return len(processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_every_id_is_a_token(processor):
    assert len(processor.tokenizer) == SHAPES["mini"].vocab
    tokens = processor.tokenizer.convert_ids_to_tokens(list(range(SHAPES["mini"].vocab)))
    assert len(set(tokens)) == SHAPES["mini"].vocab


def test_every_word_is_one_token(processor):
    ids = processor.tokenizer([word(i) for i in range(WORDS)], add_special_tokens=False)["input_ids"]
    assert {len(one) for one in ids} == {1}
    assert len({one[0] for one in ids}) == WORDS


def test_a_vocabulary_that_cannot_hold_the_words_is_refused():
    with pytest.raises(ValueError, match="no room"):
        make_tokenizer(1000)


@pytest.mark.parametrize("size", [56, 112, 224, 448])
def test_prompts_have_exactly_the_tokens_that_are_said(processor, size):
    case = replace(CASE, image=size)
    example = examples(case, 1)[0]
    content = [{"type": "image"}, {"type": "text", "text": example.prompt}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    encoded = processor(images=[[example.image()]], text=[text], return_tensors="pt")
    assert encoded["image_grid_thw"].tolist() == [[1, size // 14, size // 14]]  # not resized
    assert encoded["input_ids"].shape[1] == prompt_tokens(case)


def test_completions_have_exactly_the_tokens_asked_for(processor):
    for example in examples(CASE, 3):
        for text in (example.chosen, example.rejected):
            assert length(processor, text + processor.tokenizer.eos_token) == CASE.completion
        assert example.chosen != example.rejected
    assert length(processor, given_text(CASE, 1, 2)) == CASE.completion


def test_a_rendered_completion_is_its_words_and_the_end_token(processor):
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": word(3)}]
    prompt = processor.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    whole = processor.apply_chat_template(turns, tokenize=False)
    assert whole == prompt + word(3) + processor.tokenizer.eos_token


def test_varied_completions_reach_from_a_quarter_to_all_of_the_length(processor):
    case = replace(CASE, completion=8, varied=True)
    lengths = {length(processor, example.chosen) + 1 for example in examples(case, 60)}
    assert lengths == set(range(2, 9))


def test_data_is_the_same_on_every_call_and_in_every_process():
    assert examples(CASE, 2) == examples(CASE, 4)[:2]
    first = examples(CASE, 1)[0]
    texts = first.prompt + first.chosen + first.rejected
    assert (zlib.crc32(texts.encode()), zlib.crc32(first.image().tobytes())) == (4236127972, 3810159043)


def test_a_stream_is_new_unless_the_case_repeats_data():
    order = Order(case=CASE, model="", steps=6, warmup=2)
    assert len({example.key for example in stream(order)}) == 6 * CASE.prompts
    frozen = replace(order, case=replace(CASE, freeze_vision=True))
    keys = [example.key for example in stream(frozen)]
    assert len(keys) == 12
    assert len(set(keys)) == len(set(keys[:4])) == 4  # all of them in the two steps of warm-up


def test_rewards_of_different_texts_differ():
    rewards = {reward(given_text(CASE, 0, index)) for index in range(200)}
    assert len(rewards) == 200
    assert all(0 <= value < 1 for value in rewards)


def test_an_order_survives_its_command_line():
    order = Order(case=replace(CASE, kl_weight=0.04), model="m", steps=3, warmup=1, compact=False)
    assert Order.from_json(order.to_json()) == order


@pytest.mark.parametrize("cases", [CPU_CASES, CUDA_CASES])
def test_cases_have_names_of_their_own(cases):
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.image % 28 == 0 for case in cases)


def test_greedy_answers_depend_on_the_prompt_and_do_not_repeat_one_token(tmp_path):
    from specs_lab.models.vlm import VLM

    build(SHAPES["mini"], tmp_path)
    vlm = VLM.load(tmp_path)
    assert sum(p.numel() for p in vlm.core.model.language_model.layers.parameters()) == 2_953_216
    answers = []
    for example in examples(CASE, 2):
        prompt = vlm.encode_prompts([example.prompt], [[example.image()]], [example.key])[0]
        inputs = {"pixel_values": prompt.vision["pixel_values"], "image_grid_thw": prompt.vision["image_grid_thw"]}
        kinds = (prompt.token_ids == vlm.image_id).int()[None]
        ids = vlm.model.generate(
            input_ids=prompt.token_ids[None], mm_token_type_ids=kinds, max_new_tokens=12, do_sample=False, **inputs
        )
        answers.append(ids[0, len(prompt.token_ids) :].tolist())
    assert answers[0] != answers[1]
    assert all(len(set(answer)) > 6 for answer in answers)
