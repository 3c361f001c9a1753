"""No update is made with numbers that are not finite; memory that runs out changes nothing but the pace."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from lightning import Callback

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.vlm import VLM
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.rollout import inprocess
from specs_lab.rollout.sampling import Sampling
from specs_lab.training.cold_start import Pair, SFTModule
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.guards.policy import Guard
from specs_lab.training.options.trainer import TrainerOptions

BATCH = 2
WHOLE = 1 << 20


@pytest.fixture
def pairs(toy_rows):
    """Six pairs: the first one comes twice."""
    return [Pair(row, Row(row.prompt, ())) for row in (*toy_rows, toy_rows[0])]


@pytest.fixture
def train(toy_weights):
    """Trains consecutive pairs by SFT, two a step."""

    def run(pairs, *, guard=None, adapter=None, tokens=WHOLE, prepare=lambda module: None, resume=None, callbacks=()):
        vlm = VLM(copy.deepcopy(toy_weights[0]).eval(), toy_weights[1])
        (adapter or FullAdapter()).attach(vlm, seed=1)
        torch.manual_seed(5)
        steps = len(pairs) // BATCH
        module = SFTModule(vlm, SFTOptions(steps=steps, batch_size=BATCH, warmup_steps=4, lr=1e-3), tokens)
        module.guard = guard or Guard()
        prepare(module)
        batches = ConsecutiveBatches(BATCH, steps)
        options = {"trainer": TrainerOptions(), "resume": resume, "callbacks": callbacks}
        fit(module, Items(len(pairs), pairs.__getitem__), batches, **options)
        return module

    return run


class _Seen(Callback):
    def __init__(self):
        self.metrics = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.metrics.append(pl_module.step_metrics)


def _poisoned(pair):
    """The pair with a picture that is not a number, under a name of its own."""
    picture = {name: value * math.nan if value.is_floating_point() else value for name, value in _vision(pair).items()}
    prompt = replace(pair.chosen.prompt, vision=picture, key="poisoned")
    return Pair(Row(prompt, pair.chosen.completion), Row(prompt, ()))


def _vision(pair):
    assert pair.chosen.prompt.vision
    return pair.chosen.prompt.vision


def _weights(module):
    return torch.cat([p.detach().flatten() for p in module.vlm.parameters() if p.requires_grad])


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- numbers that are not finite ---------------------------------------------------------------------------------------


def test_an_update_that_is_left_out_leaves_no_trace(train, pairs, tmp_path):
    """The training ends as one that never saw the second step: weights, moments and learning rate."""
    files = [tmp_path / "work.jsonl", tmp_path / "deep" / "copy.jsonl"]
    files[0].write_text('{"update": 1}\n')  # of a run that started anew
    seen, told = _Seen(), []
    wrong = [*pairs[:2], pairs[2], _poisoned(pairs[3]), *pairs[4:]]
    guard = Guard(on_nan="skip", files=files, tell=told.append)
    module = train(wrong, guard=guard, callbacks=[seen])
    other = train([*pairs[:2], *pairs[4:]])
    assert torch.equal(_weights(module), _weights(other))
    assert torch.isfinite(_weights(module)).all()
    assert module.updates == 2
    assert seen.metrics[1] == {"train/skipped_updates": 1}
    assert seen.metrics[2] == {**other.step_metrics, "train/skipped_updates": 1}
    (line,) = _lines(files[0])
    assert line.pop("tokens") == row_tokens([wrong[3].chosen])
    assert line == {"step": 2, "update": 2, "rank": 0, "id": "poisoned", "what": "loss", "loss": "nan", "again": True}
    assert files[1].read_text() == files[0].read_text()
    (text,) = told
    for part in ("step 2", "poisoned", str(files[1])):
        assert part in text


def test_the_training_stops_and_says_why(train, pairs, tmp_path):
    guard = Guard(name="stage cold", files=[tmp_path / "found.jsonl"])
    with pytest.raises(UserError) as caught:
        train([*pairs[:3], _poisoned(pairs[3])], guard=guard)
    (fault,) = caught.value.faults
    assert fault.where == "stage cold, step 2"
    for part in ("the loss is nan", "samples: poisoned;", str(tmp_path / "found.jsonl")):
        assert part in fault.what
    assert "learning rate" in fault.fix


def test_only_so_many_updates_in_a_row_are_left_out(train, pairs):
    bad = _poisoned(pairs[0])
    apart = [bad, bad, pairs[0], pairs[1], bad, bad]
    assert train(apart, guard=Guard(on_nan="skip", nan_skips=1)).guard.skipped == 2
    with pytest.raises(UserError, match="1 in a row have been left out already"):
        train([pairs[0], pairs[1], bad, bad, bad, bad], guard=Guard(on_nan="skip", nan_skips=1))


@pytest.mark.parametrize(
    ("change", "what", "told"),
    [
        (lambda g: g * math.inf, "sum", "none shows it again alone"),
        (lambda g: torch.full_like(g, 1e30), "norm", "their squares"),
    ],
    ids=["once", "overflow"],
)
def test_what_is_wrong_in_the_gradient_alone_is_told_apart(train, pairs, tmp_path, change, what, told):
    """A fault of the machine that does not come again, and finite numbers whose squares are too large."""

    def prepare(module):
        parameter = next(p for p in module.vlm.family.text_model.parameters() if p.requires_grad)
        turns = iter([change])
        parameter.register_hook(lambda g: next(turns, lambda g: g)(g))

    files = [tmp_path / "found.jsonl"]
    with pytest.raises(UserError, match=told):
        train(pairs[:2], guard=Guard(files=files), prepare=prepare)
    lines = _lines(files[0])
    assert {line["what"] for line in lines} == {what}
    assert sorted(line["id"] for line in lines) == sorted(pair.chosen.prompt.key for pair in pairs[:2])
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_broken_weights_are_told_from_broken_data(train, pairs):
    def prepare(module):
        with torch.no_grad():
            next(p for p in module.vlm.family.text_model.parameters() if p.requires_grad).fill_(math.nan)

    with pytest.raises(UserError, match="more likely the weights are to blame"):
        train(pairs[:2], prepare=prepare)


def test_a_last_update_that_breaks_the_weights_is_no_result(train, pairs):
    class Breaks(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            with torch.no_grad():
                next(p for p in pl_module.vlm.parameters() if p.requires_grad).fill_(math.inf)

    with pytest.raises(UserError, match="1 trained weights are not finite"):
        train(pairs[:2], callbacks=[Breaks()])


def test_a_resumed_training_counts_on_and_repeats_no_line(train, pairs, tmp_path):
    """It stops after the third step but had a checkpoint of the second: the third's line is written once."""

    class Save(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "second.ckpt")

    bad = _poisoned(pairs[0])
    data = [pairs[0], pairs[1], pairs[2], bad, pairs[4], bad]
    files = [tmp_path / "work.jsonl"]
    whole = train(data, guard=Guard(on_nan="skip", files=files), callbacks=[Save()])
    written = files[0].read_text()
    guard = Guard(on_nan="skip", files=files)
    rest = train(data, guard=guard, resume=tmp_path / "second.ckpt")
    assert files[0].read_text() == written
    assert [line["step"] for line in _lines(files[0])] == [2, 3]
    assert guard.state() == whole.guard.state() == {"skipped": 2, "in_a_row": 2, "halvings": 0}
    assert torch.equal(_weights(rest), _weights(whole))
    guard.load({"skipped": 1, "in_a_row": 1, "halvings": 0}, updates=1)  # as it stood after the second step
    assert [line["step"] for line in _lines(files[0])] == [2]


def _train_grpo(vlm, problems, score, guard, steps=1):
    tasks = [Task(f"{p.id}/tags", "id", p, INSTRUCTIONS["tags"]) for p in problems[:2]]
    options = GRPOOptions(steps=steps, group_size=2, prompts_per_step=2, max_new_tokens=4, lr=1e-3)
    module = GRPOModule(
        vlm, options, score, micro_batch_tokens=WHOLE, sample_batch_size=64, stream="guards"
    )  # fmt: skip
    module.guard = guard
    batches = ConsecutiveBatches(2, steps)
    fit(module, Items(2 * steps, lambda i: tasks[i % 2]), batches, trainer=TrainerOptions())
    return module


def test_a_reward_that_is_no_number_is_named_and_teaches_nothing(toy_vlm, toy_problems, tmp_path):
    def score(responses, tasks, progress):
        return [Score(False, False, float(i) if i != 2 else math.nan, None) for i in range(len(responses))]

    before = torch.cat([p.detach().flatten() for p in toy_vlm.parameters()])
    files = [tmp_path / "found.jsonl"]
    module = _train_grpo(toy_vlm, toy_problems, score, Guard(on_nan="skip", files=files))
    assert module.step_metrics["train/skipped_updates"] == 1
    assert torch.equal(torch.cat([p.detach().flatten() for p in toy_vlm.parameters()]), before)
    (line,) = _lines(files[0])
    assert (line["id"], line["what"], line["reward"]) == (f"{toy_problems[1].id}/tags", "reward", "nan")
    with pytest.raises(UserError, match=f"samples: {toy_problems[1].id}/tags"):
        _train_grpo(toy_vlm, toy_problems, score, Guard())


def test_a_broken_policy_is_found_when_it_samples(toy_vlm, toy_problems):
    """All its answers earn the same, so no update would ever show it."""
    with torch.no_grad():
        next(iter(toy_vlm.family.text_model.layers.parameters())).fill_(math.nan)
    same = lambda responses, tasks, progress: [Score(False, False, 0.0, None) for _ in responses]  # noqa: E731
    with pytest.raises(UserError, match="log-probabilities of what was sampled"):
        _train_grpo(toy_vlm, toy_problems, same, Guard())


# -- memory ------------------------------------------------------------------------------------------------------------


def _cramped(limit, fails=math.inf):
    """Makes a model run out of memory at passes over more than ``limit`` tokens, so many times."""

    def prepare(module):
        inner, left = module.vlm.logprobs, [fails]

        def logprobs(rows, **options):
            scored = inner(rows, **options)  # what dropout draws is drawn before memory runs out
            if row_tokens(rows) > limit and left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return scored

        module.vlm.logprobs = logprobs

    return prepare


@pytest.mark.parametrize("adapter", [FullAdapter(), LoraAdapter(rank=2, dropout=0.3)], ids=["full", "dropout"])
def test_smaller_micro_batches_change_nothing_else(train, pairs, adapter):
    """As if the budget had been that small from the start, to the last bit."""
    limit = max(row_tokens([pair.chosen]) for pair in pairs)
    told, seen = [], _Seen()
    module = train(
        pairs, adapter=adapter, prepare=_cramped(limit), guard=Guard(tell=told.append), callbacks=[seen]
    )  # fmt: skip
    assert 0 < module.micro_batch_tokens <= limit
    other = train(pairs, adapter=adapter, tokens=module.micro_batch_tokens)
    assert torch.equal(_weights(module), _weights(other))
    assert seen.metrics[-1]["train/micro_batch_tokens"] == module.micro_batch_tokens
    assert "train/micro_batch_tokens" not in other.step_metrics
    assert len(told) == module.guard.halvings >= 1
    assert f"trainer.micro_batch_tokens is {module.micro_batch_tokens} from here on" in told[-1]


def test_a_smaller_budget_outlives_an_interruption_unless_another_is_asked_for(train, pairs):
    module = train(pairs[:2], prepare=_cramped(limit=0, fails=1))
    state = module.progress_state()
    assert state["guard"]["tokens"] < WHOLE
    for asked, now in ((WHOLE, module.micro_batch_tokens), (WHOLE // 2, WHOLE // 2)):
        other = SFTModule(module.vlm, SFTOptions(), asked)
        other.load_progress_state(state)
        assert other.micro_batch_tokens == now
        assert other.guard.halvings == 1


def test_a_sample_that_is_too_large_alone_is_named(train, pairs):
    largest = max(pairs[:2], key=lambda pair: row_tokens([pair.chosen])).chosen
    with pytest.raises(UserError) as caught:
        train(pairs[:2], prepare=_cramped(limit=row_tokens([largest]) - 1))
    (fault,) = caught.value.faults
    assert f"sample {largest.prompt.key} alone, of {row_tokens([largest])} tokens: CUDA out of memory" in fault.what
    assert "gradient_checkpointing" in fault.fix


def test_a_budget_is_halved_only_so_often(train, pairs):
    with pytest.raises(UserError, match="memory ran out with trainer"):
        train(pairs[:2], prepare=_cramped(limit=0), guard=Guard(oom_halvings=0))


def test_other_errors_are_not_taken_for_a_lack_of_memory(train, pairs):
    def prepare(module):
        def logprobs(rows, **options):
            raise RuntimeError("shapes do not fit")

        module.vlm.logprobs = logprobs

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(pairs[:2], prepare=prepare)


@pytest.fixture
def narrow(monkeypatch):
    """Makes sampling run out of memory at more than so many responses at once; returns the sizes that were tried."""

    def make(limit):
        inner, tried = inprocess._generate_batch, []

        def cramped(vlm, prompts, keys, sampling):
            tried.append(sum(map(len, keys)))
            if tried[-1] > limit:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
            return inner(vlm, prompts, keys, sampling)

        monkeypatch.setattr(inprocess, "_generate_batch", cramped)
        return tried

    return make


def test_fewer_responses_at_once_are_the_same_responses(toy_vlm, toy_prompts, narrow, caplog):
    keys = [[f"{i}/{k}" for k in range(3)] for i in range(len(toy_prompts))]
    sampling = Sampling(temperature=1.0, max_new_tokens=4)
    whole = inprocess.generate(toy_vlm, toy_prompts, keys, sampling)
    tried = narrow(limit=4)
    parts = inprocess.generate(toy_vlm, toy_prompts, keys, sampling)
    assert [[one.token_ids for one in group] for group in parts] == [
        [one.token_ids for one in group] for group in whole
    ]
    assert tried[0] == 15
    assert inprocess.room(toy_vlm, 64) <= 4
    assert "memory ran out" in caplog.text
    tried.clear()
    inprocess.generate(toy_vlm, toy_prompts, keys, sampling)
    assert max(tried) <= 4  # it is not tried again


def test_a_single_response_that_does_not_fit_is_told(toy_vlm, toy_prompts, narrow):
    narrow(limit=0)
    with pytest.raises(UserError, match=rf"up to 4 tokens after {len(toy_prompts[0].token_ids)} of a prompt"):
        inprocess.generate(toy_vlm, toy_prompts[:1], [["a"]], Sampling(temperature=1.0, max_new_tokens=4))
