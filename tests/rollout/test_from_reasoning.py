"""A frozen model answers from a reasoning alone."""

from pathlib import Path

import pytest
import torch

import specs_lab
from specs_lab.core.errors import UserError
from specs_lab.models.reference import make_reference
from specs_lab.models.vlm import VLM
from specs_lab.rewards.scoring import Asked
from specs_lab.rollout.from_reasoning import FromReasoning

QUESTION = "How many red shapes?"


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return VLM.load(Path(str(specs_lab.__file__)).parent / "checkpoints" / "small-0")


def asked(question: str = QUESTION, format: str = "think_answer") -> Asked:
    return Asked("task", "2", format, "integer", question=question)


def test_the_answer_follows_from_the_reasoning_and_not_from_a_picture(vlm: VLM):
    answer = FromReasoning(make_reference(vlm))
    thoughts = [(asked(), f"red: a1 c3. total {n}") for n in (2, 3, 5)]
    assert [text.strip() for text in answer(thoughts)] == ["2", "3", "5"]


def test_neither_the_batch_nor_a_second_time_changes_an_answer(vlm: VLM):
    thoughts = [(asked(), f"red: a1 c3. total {n}") for n in (2, 3, 5)] + [(asked(format="steps_final"), "3+4=7")]
    answer, one_by_one = FromReasoning(make_reference(vlm)), FromReasoning(make_reference(vlm), batch_size=1)
    assert answer(thoughts) == answer(thoughts) == one_by_one(thoughts)
    assert answer(thoughts[1:2]) == answer(thoughts)[1:2]


def test_the_model_that_answers_stays_as_it_was(vlm: VLM):
    answer = FromReasoning(make_reference(vlm))
    before = answer([(asked(), "total 3")])
    with torch.no_grad():
        weight = vlm.model.get_input_embeddings().weight
        kept = weight.clone()
        weight.zero_()
    try:
        assert answer([(asked(), "total 3")]) == before
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_tokens_are_told(vlm: VLM):
    spent = []
    FromReasoning(make_reference(vlm), spent=spent.append, max_new_tokens=4)([(asked(), "total 3")] * 2)
    prompt = len(vlm.encode_prompts([QUESTION], [()], [""])[0].token_ids)
    begun = len(vlm.encode_completions(["<think> total 3 </think> <answer>"], ended=False)[0])
    assert len(spent) == 1
    assert 2 * (prompt + begun + 1) <= spent[0] <= 2 * (prompt + begun + 4)


def test_a_format_without_sections_cannot_be_begun(vlm: VLM):
    with pytest.raises(UserError, match="boxed"):
        FromReasoning(make_reference(vlm))([(asked(format="boxed"), "total 3")])
