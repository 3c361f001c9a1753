"""Masked prompts: which tokens, how many, and that the model sees just that."""

from dataclasses import replace

import pytest
import torch

from specs_lab.models.prompts import Row
from specs_lab.training.prompt_masking import masked_rows


def _kept(vlm):
    return {*vlm.never_sampled, *vlm.tokenizer.all_special_ids}


def _text_places(vlm, prompt):
    """Where a prompt has text that may be masked."""
    return torch.tensor([token not in _kept(vlm) for token in prompt.token_ids.tolist()])


def _masked_places(vlm, before, after):
    changed = before.token_ids != after.token_ids
    assert set(after.token_ids[changed].tolist()) <= {vlm.pad_id}
    return changed


def test_nothing_masked_is_the_very_same_rows(toy_vlm, toy_rows):
    made = masked_rows(toy_rows, 0.0, toy_vlm, "a")
    assert all(one is other for one, other in zip(made, toy_rows, strict=True))


def test_pictures_and_marks_are_never_masked(toy_vlm, toy_rows):
    for row, masked in zip(toy_rows, masked_rows(toy_rows, 0.999, toy_vlm, "a"), strict=True):
        changed = _masked_places(toy_vlm, row.prompt, masked.prompt)
        text = _text_places(toy_vlm, row.prompt)
        assert 0 < int(text.sum()) < len(text)
        assert not (changed & ~text).any()
        assert changed.sum() > 0.9 * text.sum()
        pictures = row.prompt.token_ids == toy_vlm.image_id
        assert pictures.any()
        assert torch.equal(pictures, masked.prompt.token_ids == toy_vlm.image_id)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_the_share_is_that_of_the_text(toy_vlm, toy_rows, share):
    hidden = total = 0
    for number in range(60):
        for row, masked in zip(toy_rows, masked_rows(toy_rows, share, toy_vlm, f"n{number}"), strict=True):
            hidden += int(_masked_places(toy_vlm, row.prompt, masked.prompt).sum())
            total += int(_text_places(toy_vlm, row.prompt).sum())
    spread = (share * (1 - share) / total) ** 0.5
    assert abs(hidden / total - share) < 4 * spread


def test_what_is_masked_is_a_function_of_the_name(toy_vlm, toy_rows):
    def ids(name):
        return [row.prompt.token_ids.tolist() for row in masked_rows(toy_rows, 0.5, toy_vlm, name)]

    assert ids("a") == ids("a")
    assert ids("a") != ids("b")


def test_rows_of_one_prompt_share_the_masked_one_and_others_do_not(toy_vlm, toy_rows):
    first, second = toy_rows[0].prompt, toy_rows[1].prompt
    twin = replace(first)  # an equal prompt that is another object
    rows = [Row(first, (1,)), Row(second, (2,)), Row(first, (3,)), Row(twin, (4,))]
    made = masked_rows(rows, 0.5, toy_vlm, "a")
    assert made[0].prompt is made[2].prompt
    assert made[0].prompt is not made[3].prompt
    assert made[0].prompt.token_ids.tolist() != made[3].prompt.token_ids.tolist()
    assert [row.completion for row in made] == [(1,), (2,), (3,), (4,)]


def test_the_rows_that_were_given_are_left_alone(toy_vlm, toy_rows):
    before = [row.prompt.token_ids.clone() for row in toy_rows]
    masked_rows(toy_rows, 0.9, toy_vlm, "a")
    assert all(torch.equal(row.prompt.token_ids, ids) for row, ids in zip(toy_rows, before, strict=True))


def test_only_the_tokens_of_the_prompt_differ(toy_vlm, toy_rows):
    for row, masked in zip(toy_rows, masked_rows(toy_rows, 0.5, toy_vlm, "a"), strict=True):
        assert masked.completion == row.completion
        assert masked.prompt.key == row.prompt.key
        assert masked.prompt.vision is row.prompt.vision
        assert torch.equal(masked.prompt.position_ids, row.prompt.position_ids)
        assert masked.prompt.token_ids.dtype == row.prompt.token_ids.dtype


def test_masked_tokens_take_part_as_the_token_that_stands_for_them(toy_vlm, toy_rows):
    """They are no padding: a masked row scores like a plain forward pass on its tokens, all of them attended to."""
    masked = masked_rows(toy_rows, 0.5, toy_vlm, "a")
    scored = toy_vlm.logprobs(masked).logprobs
    for row, line in zip(masked, scored, strict=True):
        ids = torch.cat([row.prompt.token_ids, torch.tensor(row.completion)])[None]
        with torch.no_grad():
            logits = toy_vlm.core(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                **toy_vlm.family.plain_inputs([row.prompt], ids),
            ).logits[0, len(row.prompt.token_ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(row.completion)[:, None])[:, 0]
        assert torch.allclose(line[: len(row.completion)], expected, atol=1e-4)


def test_masking_changes_what_the_model_says(toy_vlm, toy_rows):
    with torch.no_grad():
        plain = toy_vlm.logprobs(toy_rows).logprobs
        masked = toy_vlm.logprobs(masked_rows(toy_rows, 0.5, toy_vlm, "a")).logprobs
    assert not torch.allclose(plain, masked, atol=1e-3)
