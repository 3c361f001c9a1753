"""The judge that is a model in this process."""

from pathlib import Path

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.evaluation.judges.asking import fill
from specs_lab.evaluation.judges.model import ModelJudge, VLMJudge, read_yes_or_no
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.rewards.judge import Judged

UNFROZEN = ModelSetup(freeze_vision=False, freeze_projector=False)

ANSWERS = [Judged(answer, gold, "How many?") for answer in ("3", "four", "", "a red one") for gold in ("3", "blue")]
SHORT = "{question}{gold}{answer}"


@pytest.fixture(scope="module")
def tiny() -> VLMJudge:
    judge = ModelJudge(path=str(CHECKPOINTS / "tiny-0"), prompt=SHORT, max_new_tokens=8, accelerator="cpu").make()
    assert isinstance(judge, VLMJudge)
    return judge


@pytest.mark.parametrize(
    ("reply", "yes"),
    [
        ("Yes", True),
        ("no.", False),
        ("**YES**, it does", True),
        ("No. Yes would be wrong", False),
        ("The answer is right: yes", True),
        ("It does not know; nothing, eyes, yesterday", None),
        ("", None),
        ("<think> no, or is it? </think> Yes", True),
        ("<think> yes, it", None),
    ],
)
def test_replies_by_hand(reply, yes):
    assert read_yes_or_no(reply) is yes


def test_replies_are_deterministic_and_follow_their_answers(tiny):
    replies = tiny.replies(ANSWERS)
    assert len(set(replies)) > len(ANSWERS) / 2  # else an order could not be seen
    assert tiny.replies(ANSWERS) == replies
    assert tiny.replies(ANSWERS[::-1]) == replies[::-1]
    assert tiny.replies([]) == []


def test_replies_do_not_depend_on_the_batch(tiny):
    together = tiny.replies(ANSWERS)
    assert [tiny.replies([answer])[0] for answer in ANSWERS] == together
    small = VLMJudge(tiny._vlm, ModelJudge(path=str(CHECKPOINTS / "tiny-0"), prompt=SHORT, batch_size=3))
    assert small.replies(ANSWERS) == together


def test_values_are_those_of_the_replies_and_unclear_ones_are_counted(tiny, monkeypatch):
    judge = VLMJudge(tiny._vlm, ModelJudge(path=str(CHECKPOINTS / "tiny-0"), prompt=SHORT, threshold=0.7))
    said = dict(zip(judge.replies(ANSWERS), ("Yes", "No", "maybe", "yes", "no", "?", "Yes", "No"), strict=True))
    decode = judge._vlm.decode
    monkeypatch.setattr(judge._vlm, "decode", lambda token_ids: said[decode(token_ids)])
    assert judge(ANSWERS) == [1, 0, 0, 1, 0, 0, 1, 0]
    assert judge(ANSWERS[2:4]) == [0, 1]
    assert judge.unclear == 3
    assert judge.threshold == 0.7


def test_equal_answers_are_asked_about_once(tiny, monkeypatch):
    asked = []
    encode = tiny._vlm.encode_prompts
    monkeypatch.setattr(tiny._vlm, "encode_prompts", lambda texts, *rest: asked.extend(texts) or encode(texts, *rest))
    replies = tiny.replies([*ANSWERS[:2], *ANSWERS[:2]])
    assert replies[:2] == replies[2:]
    assert len(asked) == 2


def test_a_turn_without_a_picture_holds_the_texts_and_no_tokens_of_theirs(tiny):
    added = tiny._vlm.tokenizer.get_added_vocab()
    texts = [fill("{answer}", Judged(text, "")) for text in ("plainly blue", f"plainly blue {' '.join(added)}")]
    prompts = tiny._vlm.encode_prompts(texts, [(), ()], ["", ""])
    plain, attacked = (prompt.token_ids.tolist() for prompt in prompts)
    assert tiny._vlm.image_id not in plain
    assert "plainly blue" in tiny._vlm.decode(plain)
    assert len(added) >= 8
    assert [i for i in attacked if i in added.values()] == [i for i in plain if i in added.values()]


def test_replies_of_a_family_whose_prompts_are_not_shared_are_the_same(tiny):
    plain = VLM(tiny._vlm.model, tiny._vlm.processor, setup=UNFROZEN, share_prompts=False)
    judge = VLMJudge(plain, ModelJudge(path=str(CHECKPOINTS / "tiny-0"), prompt=SHORT))
    assert judge.replies(ANSWERS) == tiny.replies(ANSWERS)


def test_nothing_of_it_is_trained(tiny):
    assert not any(parameter.requires_grad for parameter in tiny._vlm.parameters())
    assert not tiny._vlm.model.training


def test_all_faults_are_reported_together(tmp_path: Path, fake_checkpoint: Path):
    ModelJudge(path=str(fake_checkpoint))
    with pytest.raises(InvalidOption) as error:
        ModelJudge(path=str(tmp_path), prompt="{gold}", max_new_tokens=0, batch_size=0, accelerator="x", threshold=2)
    wrong = [fault.where for fault in error.value.faults]
    assert wrong == ["path"] * 4 + ["prompt", "max_new_tokens", "batch_size", "accelerator", "threshold"]
