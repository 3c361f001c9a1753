"""GRPO as a step: groups, normalisation, the KL reference, and what is counted."""

import copy
import math

import pytest
import torch
from lightning import Callback

from specs_lab.models.vlm import VLM
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.scoring import rewarder
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.rewards.terms.format import FormatTerm
from specs_lab.rewards.terms.overlong import OverlongTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.rollout.engines import inprocess
from specs_lab.rollout.sampling import Completion
from specs_lab.training import grpo
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions


@pytest.fixture
def tasks(toy_problems):
    return [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]


def _even_length(response, task):
    """An arbitrary reward that varies within groups."""
    even = len(response) % 2 == 0
    return Score(even, False, float(even), None)


def _same(response, task):
    return Score(False, False, 0.5, None)


def _each(score):
    """A scorer out of one that scores a response to a task."""
    return lambda responses, tasks, progress: [score(r.text, t) for r, t in zip(responses, tasks, strict=True)]


def _train(
    vlm,
    tasks,
    *,
    score=_even_length,
    scorer=None,
    steps=1,
    micro_batch_tokens=1 << 20,
    spare=None,
    reward_terms=(),
    callbacks=(),
    **options,
):
    options = GRPOOptions(steps=steps, group_size=4, prompts_per_step=len(tasks), max_new_tokens=8, **options)
    module = GRPOModule(
        vlm,
        options,
        scorer or _each(score),
        micro_batch_tokens=micro_batch_tokens,
        sample_batch_size=64,
        stream="test",
        spare=spare,
        reward_terms=reward_terms,
    )
    fit(
        module,
        Items(len(tasks) * steps, lambda i: tasks[i % len(tasks)]),
        ConsecutiveBatches(len(tasks), steps),
        trainer=TrainerOptions(),
        callbacks=callbacks,
    )
    return module


def _fresh(toy_weights):
    return VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])


def _weights(vlm):
    return torch.cat([p.detach().flatten() for p in vlm.parameters() if p.requires_grad])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_on_policy_ratio_is_one(toy_vlm, tasks, temperature):
    metrics = _train(toy_vlm, tasks, temperature=temperature).step_metrics
    assert metrics["train/ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["train/clip_share"] == 0
    assert 0 < metrics["rollout/reward"] < 1


def test_groups_without_variance_change_nothing_and_are_counted(toy_vlm, tasks):
    before = _weights(toy_vlm)
    module = _train(toy_vlm, tasks, score=_same)
    assert torch.equal(_weights(toy_vlm), before)
    assert module.step_metrics["rollout/zero_variance"] == 1
    assert module.updates == 0


@pytest.mark.parametrize("loss_norm", ["token", "sequence"])
def test_an_update_does_not_depend_on_the_micro_batches(toy_weights, tasks, loss_norm):
    results = []
    for size in (1, 150, 1 << 20):
        vlm = _fresh(toy_weights)
        module = _train(vlm, tasks, micro_batch_tokens=size, loss_norm=loss_norm)
        results.append((module.step_metrics["train/grad_norm"], _weights(vlm)))
    for norm, weights in results[1:]:
        assert norm == pytest.approx(results[0][0], rel=1e-4)
        assert (weights - results[0][1]).abs().mean() < 1e-7


def test_rows_without_advantage_are_counted_by_the_normalisation(toy_weights, tasks):
    """Skipping their forward pass must not change the update; a KL term of weight ~0 forwards them all."""
    skipping = _train(_fresh(toy_weights), tasks)
    forwarding = _train(_fresh(toy_weights), tasks, kl_weight=1e-12)
    assert forwarding.step_metrics["train/grad_norm"] == pytest.approx(
        skipping.step_metrics["train/grad_norm"], rel=1e-3
    )


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_kl_is_measured_against_the_start(toy_vlm, tasks, temperature):
    seen = []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.step_metrics["train/kl"])

    _train(
        toy_vlm, tasks, temperature=temperature, steps=3, kl_weight=0.1, lr=3e-3, warmup_steps=0, callbacks=[Collect()]
    )
    assert seen[0] == pytest.approx(0, abs=1e-6)
    assert seen[-1] > 1e-4


def test_later_inner_updates_are_off_policy(toy_vlm, tasks):
    module = _train(toy_vlm, tasks, inner_updates=3, lr=3e-3, warmup_steps=0)
    assert module.updates == 3
    assert module.step_metrics["train/clip_share"] > 0


def test_the_reward_is_learnt(toy_vlm, tasks):
    """A reward for short responses makes responses shorter."""
    seen = []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.step_metrics["rollout/reward"])
            assert pl_module.vlm.model.training

    def score(response, task):
        share = response.count("a") / max(1, len(response))
        return Score(False, False, share, None)

    _train(toy_vlm, tasks, steps=12, lr=3e-3, score=score, callbacks=[Collect()])
    assert sum(seen[-3:]) > sum(seen[:3])
    assert all(math.isfinite(value) for value in seen)


def test_budget_counts_rollouts_and_updates(toy_vlm, tasks):
    module = _train(toy_vlm, tasks, score=_same)
    prompt_tokens = sum(
        len(p.token_ids)
        for p in toy_vlm.encode_prompts(
            [t.text for t in tasks], [t.images for t in tasks], [t.problem.id for t in tasks]
        )
    )
    assert module.budget.generated_tokens == round(module.step_metrics["rollout/length"] * 4 * len(tasks))
    assert module.budget.tokens == prompt_tokens + module.budget.generated_tokens


def test_rollouts_are_reproducible_and_differ_between_steps(toy_weights, tasks):
    one, two = (_train(_fresh(toy_weights), tasks, steps=2, lr=1e-12) for _ in range(2))
    assert one.step_metrics == two.step_metrics
    first = _train(_fresh(toy_weights), tasks, steps=1, lr=1e-12)
    assert first.step_metrics["rollout/length"] != one.step_metrics["rollout/length"] or (
        first.step_metrics["rollout/reward"] != one.step_metrics["rollout/reward"]
    )


class Scripted:
    """Stands in for the sampler: the responses to each prompt are given, as (length, truncated) for each response."""

    def __init__(self, *groups):
        self.groups = list(groups)
        self.asked = []

    def __call__(self, vlm, prompts, keys, sampling, *, batch_size):
        self.asked.append(list(keys))
        made = []
        for names in keys:
            group = self.groups.pop(0)
            assert len(group) == len(names)
            made.append([Completion(tuple(range(20, 20 + n)), (-3.0,) * n, truncated) for n, truncated in group])
        return made


def _scripted(monkeypatch, *groups):
    script = Scripted(*groups)
    monkeypatch.setattr("specs_lab.rollout.engines.inprocess.generate", script)
    return script


SHORT, LONG = [(2, False)] * 2, [(8, True)] * 2


def test_truncated_responses_can_be_left_out_of_the_loss(toy_weights, tasks, monkeypatch):
    """Only: their tokens are not counted, they are counted as responses, and they stay in their group's baseline."""
    norms = {}
    for name, options in {
        "all": {"loss_norm": "sequence"},
        "masked": {"loss_norm": "sequence", "mask_truncated": True},
        "masked, by tokens": {"loss_norm": "token", "mask_truncated": True},
    }.items():
        _scripted(monkeypatch, SHORT + LONG)
        module = _train(_fresh(toy_weights), tasks[:1], score=_by_turns(), **options)
        norms[name] = module.step_metrics["train/grad_norm"]
    # The short ones have 2 tokens each: mean over 4 responses of means over 2 tokens, or sum over 4 tokens.
    assert norms["masked, by tokens"] == pytest.approx(2 * norms["masked"], rel=1e-4)
    assert norms["all"] != pytest.approx(norms["masked"], rel=1e-2)
    _scripted(monkeypatch, LONG + LONG)
    vlm = _fresh(toy_weights)
    before = _weights(vlm)
    module = _train(vlm, tasks[:1], mask_truncated=True, score=_by_turns())
    assert module.updates == 0
    assert torch.equal(_weights(vlm), before)


def _by_turns():
    """0, 1, 0, 1, ... whatever the response."""
    count = iter(range(1000))
    return lambda response, task: Score(False, False, float(next(count) % 2), None)


def test_a_constant_can_divide_the_loss(toy_weights, tasks, monkeypatch):
    norms = {}
    for norm in ("token", "capacity"):
        _scripted(monkeypatch, SHORT + [(5, False)] * 2)
        norms[norm] = _train(_fresh(toy_weights), tasks[:1], loss_norm=norm, score=_by_turns()).step_metrics
    # 14 tokens were sampled; 4 responses of up to 8 tokens have room for 32.
    assert norms["token"]["train/grad_norm"] / norms["capacity"]["train/grad_norm"] == pytest.approx(32 / 14, rel=1e-4)


def _overlong(weight=1.0):
    """Nothing that was scripted follows a format; a ramp over the last 4 tokens allowed."""
    return WeightedReward(terms={"format": FormatTerm(), "overlong": OverlongTerm(weight=weight, buffer=4)})


def test_terms_of_the_reward_are_logged_and_shaping_alone_teaches_nothing(toy_vlm, tasks, monkeypatch):
    """Equal scores, but for length: a ramp over the last 4 of 8 tokens, half as strong."""
    _scripted(monkeypatch, [(2, False), (6, False), (8, False), (8, True)])
    scorer = rewarder(_overlong(weight=0.5))
    module = _train(toy_vlm, tasks[:1], scorer=scorer, reward_terms=("format", "overlong"))
    assert module.updates == 1
    mean = (0 - 0.25 - 0.5 - 0.5) / 4
    assert module.step_metrics["rollout/reward/overlong"] == pytest.approx(mean)
    assert module.step_metrics["rollout/reward/format"] == 0
    assert module.step_metrics["rollout/reward"] == pytest.approx(mean)
    assert module.step_metrics["rollout/zero_variance"] == 1


def test_the_reward_is_told_how_far_training_is(toy_vlm, tasks):
    seen = []

    def scorer(responses, tasks, progress):
        seen.append(progress)
        return [_same(r.text, t) for r, t in zip(responses, tasks, strict=True)]

    _train(toy_vlm, tasks[:1], scorer=scorer, steps=4)
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_what_helpers_forward_is_charged(toy_vlm, tasks):
    plain = _train(toy_vlm, tasks[:1], score=_same).budget.flops
    modules = []

    def scorer(responses, tasks, progress):
        modules[0].charge_forward(1000)
        return [_same(r.text, t) for r, t in zip(responses, tasks, strict=True)]

    options = GRPOOptions(steps=1, group_size=4, prompts_per_step=1, max_new_tokens=8)
    modules.append(
        GRPOModule(toy_vlm, options, scorer, micro_batch_tokens=1 << 20, sample_batch_size=64, stream="test")
    )
    fit(modules[0], Items(1, lambda i: tasks[i]), ConsecutiveBatches(1, 1), trainer=TrainerOptions())
    assert modules[0].budget.flops == plain + 2 * 1000 * toy_vlm.forward_parameters


def test_groups_that_teach_nothing_are_replaced(toy_vlm, tasks, monkeypatch):
    """Places 0 and 2 draw again; 0 gets a useful group at once, 2 keeps its last draw, which still is none."""
    script = _scripted(monkeypatch, *[SHORT + SHORT] * 6)
    useful = {tasks[1].id, tasks[3].id}
    asked = []

    def score(response, task):
        return _even_length(response, task) if task.id not in useful else next(alternating)

    def spare(step, place, attempt):
        asked.append((step, place, attempt))
        return tasks[3] if place == 0 else tasks[4]

    alternating = iter([Score(False, False, float(i % 2), None) for i in range(100)])
    module = _train(toy_vlm, tasks[:3], score=score, spare=spare, max_resamples=2)
    assert asked == [(0, 0, 1), (0, 2, 1), (0, 2, 2)]
    assert module.step_metrics["rollout/resampled"] == 3
    assert module.step_metrics["rollout/zero_variance"] == pytest.approx(2 / 3)  # as first drawn
    assert module.budget.generated_tokens == 6 * 4 * 2
    names = [name for batch in script.asked for group in batch for name in group]
    assert len(set(names)) == len(names) == 24


def test_length_alone_keeps_no_group(toy_vlm, tasks, monkeypatch):
    """Dynamic sampling looks at scores, not at what length costs: else it would train on length alone."""
    _scripted(monkeypatch, [(2, False), (8, True)] * 2, SHORT + SHORT)
    module = _train(toy_vlm, tasks[:1], scorer=rewarder(_overlong()), spare=lambda *_: tasks[1], max_resamples=1)
    assert module.step_metrics["rollout/resampled"] == 1


def test_resampling_needs_tasks(toy_vlm, tasks):
    with pytest.raises(ValueError, match="spare"):
        _train(toy_vlm, tasks, max_resamples=1)


def test_entropy_and_branching_are_logged_when_asked_for(toy_weights, tasks):
    plain = _train(_fresh(toy_weights), tasks).step_metrics
    tracked = _train(_fresh(toy_weights), tasks, track_entropy=True).step_metrics
    assert set(tracked) - set(plain) == {"train/entropy", "train/branching"}
    vocabulary = len(toy_weights[1].tokenizer)
    assert 0 < tracked["train/entropy"] < math.log(vocabulary)
    assert 1 <= tracked["train/branching"] <= vocabulary


def test_pictures_are_processed_once_a_step(toy_vlm, tasks, monkeypatch):
    """Sampling, scoring under the reference and two updates see the same prompts."""
    encoded = []
    encode = toy_vlm.encode_prompts
    monkeypatch.setattr(toy_vlm, "encode_prompts", lambda *args: encoded.append(len(args[0])) or encode(*args))
    _train(toy_vlm, tasks, steps=2, kl_weight=0.1, inner_updates=2)
    assert encoded == [len(tasks)] * 2


# --- groups that are too easy or too hard (MM-Eureka) ---


def _right(by_task):
    """Right or wrong by turns, as given for each task: {name: pattern}."""
    turns = {name: iter(values) for name, values in by_task.items()}

    def score(response, task):
        value = float(next(turns[task.id]))
        return Score(False, bool(value), value, None)

    return score


def test_groups_outside_of_the_band_have_no_gradient_and_are_not_counted(toy_weights, tasks, monkeypatch):
    """The update is the one without them: neither their tokens nor their responses divide the loss."""
    patterns = {tasks[0].id: [1, 0, 1, 0], tasks[1].id: [0, 0, 0, 1], tasks[2].id: [1, 1, 1, 0]}
    for norm in ("token", "sequence", "capacity"):
        _scripted(monkeypatch, *[SHORT + [(5, False)] * 2] * 3)
        vlm = _fresh(toy_weights)
        filtered = _train(vlm, tasks[:3], score=_right(patterns), accuracy_low=0.3, accuracy_high=0.7, loss_norm=norm)
        _scripted(monkeypatch, SHORT + [(5, False)] * 2)
        alone = _fresh(toy_weights)
        single = _train(alone, tasks[:1], score=_right(patterns), loss_norm=norm)
        assert filtered.step_metrics["train/grad_norm"] == pytest.approx(
            single.step_metrics["train/grad_norm"], rel=1e-4
        )
        assert (_weights(vlm) - _weights(alone)).abs().mean() < 1e-7
        # What is logged of the rollouts is what was drawn.
        assert filtered.step_metrics["rollout/accuracy"] == pytest.approx(6 / 12)


def test_the_band_includes_its_ends(toy_weights, tasks, monkeypatch):
    def updates(low, high):
        _scripted(monkeypatch, SHORT + SHORT)
        score = _right({tasks[0].id: [1, 0, 0, 0]})
        return _train(_fresh(toy_weights), tasks[:1], score=score, accuracy_low=low, accuracy_high=high).updates

    assert updates(0.25, 1.0) == updates(0.0, 0.25) == updates(0.25, 0.25) == 1
    assert updates(0.26, 1.0) == updates(0.0, 0.24) == 0


def test_a_batch_outside_of_the_band_changes_nothing(toy_vlm, tasks, monkeypatch):
    """Not even with a KL term, which would pull on every response."""
    _scripted(monkeypatch, *[SHORT + SHORT] * 2)
    before = _weights(toy_vlm)
    score = _right({tasks[0].id: [0, 0, 0, 1], tasks[1].id: [0] * 4})
    module = _train(toy_vlm, tasks[:2], score=score, accuracy_low=0.3, kl_weight=0.1)
    assert module.updates == 0
    assert torch.equal(_weights(toy_vlm), before)
    assert "train/kl" not in module.step_metrics


def test_groups_outside_of_the_band_are_drawn_again_where_that_is_allowed(toy_vlm, tasks, monkeypatch):
    """Place 0 is too hard twice, then fits; place 1 teaches and fits; the rollouts are logged as first drawn."""
    _scripted(monkeypatch, *[SHORT + SHORT] * 4)
    patterns = {
        tasks[0].id: [0, 0, 0, 1],
        tasks[1].id: [0, 1, 0, 1],
        tasks[2].id: [1, 1, 1, 0],
        tasks[3].id: [1, 0, 1, 0],
    }
    asked = []

    def spare(step, place, attempt):
        asked.append((step, place, attempt))
        return tasks[1 + attempt]

    module = _train(
        toy_vlm,
        tasks[:2],
        score=_right(patterns),
        spare=spare,
        max_resamples=3,
        accuracy_low=0.3,
        accuracy_high=0.7,
    )
    assert asked == [(0, 0, 1), (0, 0, 2)]
    assert module.step_metrics["rollout/resampled"] == 2
    assert module.step_metrics["rollout/accuracy"] == pytest.approx(3 / 8)
    assert module.updates == 1


def test_a_last_draw_outside_of_the_band_is_left_out_too(toy_vlm, tasks, monkeypatch):
    _scripted(monkeypatch, *[SHORT + SHORT] * 2)
    score = _right({tasks[0].id: [0, 0, 0, 1], tasks[1].id: [0, 0, 0, 1]})
    module = _train(toy_vlm, tasks[:1], score=score, spare=lambda *_: tasks[1], max_resamples=1, accuracy_low=0.3)
    assert module.step_metrics["rollout/resampled"] == 1
    assert module.updates == 0


def test_all_right_and_all_wrong_groups_are_counted_as_first_drawn(toy_vlm, tasks, monkeypatch):
    _scripted(monkeypatch, *[SHORT + SHORT] * 5)
    names = [task.id for task in tasks]
    patterns = dict(zip(names, ([1] * 4, [0] * 4, [0] * 4, [1, 0, 0, 0], [0, 1, 1, 1]), strict=True))
    metrics = _train(toy_vlm, tasks, score=_right(patterns)).step_metrics
    assert metrics["rollout/all_right"] == pytest.approx(1 / 5)
    assert metrics["rollout/all_wrong"] == pytest.approx(2 / 5)
    assert metrics["rollout/zero_variance"] == pytest.approx(3 / 5)


def test_reflections_are_counted_a_response(toy_vlm, tasks, monkeypatch):
    texts = iter(["wait, check it", "no such word", "Hmm", "again and again and again"])
    _scripted(monkeypatch, [(n, False) for n in (2, 3, 4, 5)])
    by_length = {n: next(texts) for n in (2, 3, 4, 5)}
    monkeypatch.setattr(toy_vlm, "decode", lambda ids: by_length[len(ids)])
    metrics = _train(toy_vlm, tasks[:1], score=_same).step_metrics
    assert metrics["rollout/reflections"] == pytest.approx((2 + 0 + 1 + 3) / 4)


# --- prompts that are masked anew in each update (d1) ---


def test_prompts_are_masked_anew_in_each_update_and_nowhere_else(toy_vlm, tasks, monkeypatch):
    """Sampling and the reference see whole prompts; updates, steps and prompts have masks of their own."""
    seen, sampled = [], []
    masked_rows, generate = grpo.masked_rows, inprocess.generate

    def mask(rows, share, vlm, name):
        made = masked_rows(rows, share, vlm, name)
        seen.append((share, name, [tuple(row.prompt.token_ids.tolist()) for row in made]))
        assert len({id(row.prompt) for row in made}) == len({id(row.prompt) for row in rows})
        return made

    def sample(vlm, prompts, keys, sampling, *, batch_size):
        sampled.extend(tuple(prompt.token_ids.tolist()) for prompt in prompts)
        return generate(vlm, prompts, keys, sampling, batch_size=batch_size)

    monkeypatch.setattr(grpo, "masked_rows", mask)
    monkeypatch.setattr(inprocess, "generate", sample)
    module = _train(toy_vlm, tasks[:2], steps=2, inner_updates=3, prompt_masking=0.5, kl_weight=0.1)
    assert module.updates == 6
    assert {share for share, *_ in seen} == {0.5}
    assert len({name for _, name, _ in seen}) == 6
    prompts = [ids for _, _, rows in seen for ids in set(rows)]
    assert len(set(prompts)) == len(prompts) == 12
    assert not any(set(ids) & {toy_vlm.pad_id} for ids in sampled)


def test_without_masking_updates_are_what_they_were(toy_weights, tasks, monkeypatch):
    one = _train(_fresh(toy_weights), tasks, inner_updates=2).step_metrics
    monkeypatch.setattr(grpo, "masked_rows", lambda rows, *_: list(rows))
    assert _train(_fresh(toy_weights), tasks, inner_updates=2).step_metrics == one


def test_masked_prompts_make_even_the_first_update_off_policy(toy_vlm, tasks):
    """Ratios are taken over the probabilities of whole prompts."""
    metrics = _train(toy_vlm, tasks, prompt_masking=0.5).step_metrics
    assert metrics["train/ratio"] != pytest.approx(1, abs=1e-4)


# --- a KL term whose weight is adapted ---


def test_the_weight_follows_the_kl_and_is_used(toy_weights, tasks):
    """Each update's weight is made of the one before and of the KL that was measured under it."""
    seen, used = [], []

    class Collect(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append((pl_module.step_metrics["train/kl"], pl_module.step_metrics["train/kl_weight"]))

    loss = grpo.grpo_loss

    def grpo_loss(rollout, advantages, options):
        used.append(options.kl_weight)
        return loss(rollout, advantages, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo, "grpo_loss", grpo_loss)
        options = {"steps": 5, "kl_weight": 0.1, "kl_target": 1e-3, "lr": 3e-3, "warmup_steps": 0}
        module = _train(_fresh(toy_weights), tasks, callbacks=[Collect()], **options)
    weight, weights = 0.1, []
    for kl, logged in seen:
        weights.append(weight)
        weight *= 1 + 0.1 * min(max(kl / 1e-3 - 1, -0.2), 0.2)
        assert logged == pytest.approx(weight)
    assert used == pytest.approx(weights)
    assert seen[0][1] == pytest.approx(0.1 * 0.98)  # on policy there is no KL yet
    assert seen[-1][1] > seen[-2][1]  # it has gone beyond its target
    assert module.options.kl_weight == 0.1


def test_each_inner_update_adapts_the_weight(toy_vlm, tasks):
    module = _train(toy_vlm, tasks, inner_updates=3, kl_weight=0.1, kl_target=1e6)
    assert module.step_metrics["train/kl_weight"] == pytest.approx(0.1 * 0.98**3)


def test_without_a_target_the_weight_stays_and_is_not_logged(toy_vlm, tasks):
    metrics = _train(toy_vlm, tasks, steps=2, kl_weight=0.1).step_metrics
    assert "train/kl_weight" not in metrics
    assert "train/kl" in metrics


def test_a_step_without_updates_leaves_the_weight(toy_vlm, tasks, monkeypatch):
    _scripted(monkeypatch, SHORT + SHORT)
    module = _train(toy_vlm, tasks[:1], score=_same, accuracy_low=0.5, kl_weight=0.1, kl_target=1.0)
    assert module.updates == 0
    assert "train/kl_weight" not in module.step_metrics
