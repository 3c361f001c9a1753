"""GRPO as a Lightning module: sample, score, compare within groups, update, all inside one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.reference import Reference, make_reference
from specs_lab.models.vlm import VLM
from specs_lab.objectives.advantages import group_advantages
from specs_lab.objectives.grpo import GRPOOptions, RolloutLogprobs, grpo_loss, importance_weights
from specs_lab.objectives.kl import adapted_weight
from specs_lab.objectives.terms import Loss, Unit
from specs_lab.problems.scoring import Scorer
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Response, Score
from specs_lab.rollout.engines.ahead import Ahead
from specs_lab.rollout.engines.base import Question, RolloutEngine
from specs_lab.rollout.engines.inprocess import InProcessEngine
from specs_lab.rollout.inprocess import room
from specs_lab.rollout.sampling import Completion, Sampling
from specs_lab.training.base import TrainingModule
from specs_lab.training.distributed import gathered, my_share, summed
from specs_lab.training.groups import Group, sums_over
from specs_lab.training.prompt_masking import masked_rows

Spare = Callable[[int, int, int], Task]
"""(step, place in the batch, round) to a task that replaces one whose group taught nothing."""
NextTasks = Callable[[int], Sequence[Task]]
"""A step's number, from 0, to its batch; empty behind the last one."""
_SPENT = ("prompts", "sampled", "trained", "reference")
"""What tokens are spent on."""


@dataclass(frozen=True)
class _Sampled:
    """A response to learn from."""

    row: Row
    old_logprobs: tuple[float, ...]
    advantage: float
    truncated: bool
    reference_logprobs: Tensor | None = None
    importance: tuple[float, ...] | None = None


@final
class GRPOModule(TrainingModule):
    """Group relative policy optimisation.

    Args:
        vlm: The policy; trained in place.
        options: Settings.
        score: Scores responses to tasks.
        micro_batch_tokens: Most tokens in one forward pass.
        sample_batch_size: Responses decoded side by side.
        stream: Names the random numbers of this run's rollouts.
        spare: Draws further tasks; needed with ``options.max_resamples``.
        reference: The frozen policy of the KL term; by default the policy as it is now, if there is a KL term.
        reward_terms: Names of the terms of the reward, whose means are logged.
        engine: Who samples; by default this process. It is not closed.
        next_tasks: The batches to come; needed by an engine that is asked ahead.

    Raises:
        ValueError: If further tasks may be needed and ``spare`` or ``next_tasks`` is missing.
    """

    def __init__(
        self,
        vlm: VLM,
        options: GRPOOptions,
        score: Scorer,
        *,
        micro_batch_tokens: int,
        sample_batch_size: int,
        stream: str,
        spare: Spare | None = None,
        reference: Reference | None = None,
        reward_terms: Sequence[str] = (),
        engine: RolloutEngine | None = None,
        next_tasks: NextTasks | None = None,
    ) -> None:
        super().__init__(vlm, options, micro_batch_tokens)
        if options.max_resamples and spare is None:
            raise ValueError("max_resamples needs further tasks to draw from: pass `spare`")
        self.engine = engine or InProcessEngine(vlm, sample_batch_size)
        if self.engine.ahead and next_tasks is None:
            raise ValueError("an engine that is asked ahead needs the batches to come: pass `next_tasks`")
        self.next_tasks = next_tasks
        self.ahead = Ahead(self.engine)
        self.options = options
        self.score = score
        self.sample_batch_size = sample_batch_size
        self.stream = stream
        self.spare = spare
        self.sampling = Sampling(temperature=options.temperature, max_new_tokens=options.max_new_tokens)
        self.reference = (reference or make_reference(vlm)) if options.kl_weight else None
        self._frozen = reference or self.reference  # the reward may ask it though there is no KL term
        self.reward_terms = tuple(reward_terms)
        self.rollouts = 0
        self._loss_options = options
        self._spent: Counter[str] = Counter()

    def models(self) -> list[VLM]:
        """Also the frozen policy, where it is a model of its own."""
        return super().models() + ([] if self._frozen is None or self._frozen.vlm is self.vlm else [self._frozen.vlm])

    def faults(self) -> dict[str, float]:
        """Also ``sample_batch_size``, if memory did not do for what was asked for."""
        now = room(self.vlm, self.sample_batch_size)
        return {**super().faults(), **({"sample_batch_size": float(now)} if now < self.sample_batch_size else {})}

    def progress_state(self) -> dict[str, Any]:
        """Also the rollouts made, which name random numbers, those made ahead, and the KL weight, which may adapt."""
        own = {"rollouts": self.rollouts, "kl_weight": self._loss_options.kl_weight, "ahead": self.ahead.state()}
        return {**super().progress_state(), **own}

    def load_progress_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`progress_state` returned."""
        super().load_progress_state(state)
        self.rollouts = state["rollouts"]
        self.ahead.load(state["ahead"])
        self._loss_options = replace(self.options, kl_weight=state["kl_weight"])

    def train_step(self, batch: Sequence[Task]) -> dict[str, float]:
        """One rollout batch and its updates."""
        places = my_share(range(len(batch)))
        tasks = [batch[i] for i in places]
        questions = self._questions(tasks)
        taken = self.ahead.take(self.rollouts)
        engine_metrics = dict(self.engine.sync(self.vlm, self.rollouts, questions))
        with self.vlm.in_step():
            made, version = taken or (self._sample(questions, places), self.engine.version)
            first = self._grouped(tasks, questions, made)
            groups, drawn = self._resample(first, places)
        if not self.engine.exact:
            engine_metrics["rollout/staleness"] = float(self.rollouts - version)
        self._ask_ahead()
        self.engine.rest()
        self.rollouts += 1
        own = torch.stack([group.rewards for group in groups]) if groups else torch.zeros(0, self.options.group_size)
        # All ranks' rewards: advantages may be scaled by the whole batch's spread.
        rewards = gathered(own.to(self.vlm.device), len(batch)).cpu()
        if self._left_out(groups):
            self._charge()
            faults = {f"train/{name}": value for name, value in self.faults().items()}
            return {**self._rollout_metrics(first, drawn), **engine_metrics, **faults}
        advantages = group_advantages(rewards, self.options.advantage_scale)
        samples = [
            _Sampled(Row(group.prompt, one.token_ids), one.logprobs, float(advantage), one.truncated)
            for group, place in zip(groups, places, strict=True)
            if self._fits(group)
            for one, advantage in zip(group.completions, advantages[place], strict=True)
        ]
        trained = self._learn(samples)
        self._charge()
        return {**self._rollout_metrics(first, drawn), **engine_metrics, **trained}

    def _left_out(self, groups: Sequence[Group]) -> bool:
        """Whether the step has no update because of rewards or log-probabilities that are not finite; for all ranks.

        Raises:
            UserError: If such a step stops the training.
        """
        found = [finding for group in groups for finding in group.not_finite()]
        if not summed({"found": float(len(found))}, self.vlm.device)["found"]:
            return False
        responses = sum(len(group.completions) for group in groups)
        what = "rewards, or log-probabilities of what was sampled, are no finite numbers"
        self.guard.leave_out(found, what, self.steps + 1, self.updates, responses)
        return True

    def _fits(self, group: Group) -> bool:
        """Whether a group is neither too easy nor too hard to be trained on (MM-Eureka)."""
        return self.options.accuracy_low <= group.accuracy <= self.options.accuracy_high

    # -- sampling ----------------------------------------------------------------------------------------------------

    def _questions(self, tasks: Sequence[Task]) -> list[Question]:
        prompts = self.vlm.encode_prompts(
            [task.text for task in tasks], [task.images for task in tasks], [task.problem.id for task in tasks]
        )
        return [Question(prompt, tuple(task.images)) for prompt, task in zip(prompts, tasks, strict=True)]

    def _keys(self, step: int, places: Sequence[int], again: str = "") -> list[list[str]]:
        """Names of a step's responses; ``places`` in the batch name the random numbers."""
        return [[f"{self.stream}/{step}/{i}{again}/{k}" for k in range(self.options.group_size)] for i in places]

    def _sample(
        self, questions: Sequence[Question], places: Sequence[int], again: str = ""
    ) -> Sequence[Sequence[Completion]]:
        return self.engine.generate(questions, self._keys(self.rollouts, places, again), self.sampling)

    def _grouped(
        self, tasks: Sequence[Task], questions: Sequence[Question], made: Sequence[Sequence[Completion]]
    ) -> list[Group]:
        """Scores the responses to tasks, and counts them."""
        self._spent["prompts"] += sum(len(question.prompt.token_ids) for question in questions)
        self._spent["sampled"] += sum(len(one.token_ids) for group in made for one in group)
        scores = iter(self._score(tasks, made))
        return [
            Group(task.id, question.prompt, group, [next(scores) for _ in group])
            for task, question, group in zip(tasks, questions, made, strict=True)
        ]

    def _ask_ahead(self) -> None:
        """Asks for the next step's responses, if the engine works while the policy learns."""
        if not self.engine.ahead or self.next_tasks is None:
            return
        step = self.rollouts + 1
        batch = self.next_tasks(step)
        if batch:
            places = my_share(range(len(batch)))
            self.ahead.ask(step, self._questions([batch[i] for i in places]), self._keys(step, places), self.sampling)

    def _score(self, tasks: Sequence[Task], made: Sequence[Sequence[Completion]]) -> Sequence[Score]:
        """Scores all responses at once, group by group."""
        responses = [
            Response(self.vlm.decode(one.token_ids), len(one.token_ids), self.options.max_new_tokens, one.truncated)
            for group in made
            for one in group
        ]
        answered = [task for task, group in zip(tasks, made, strict=True) for _ in group]
        return self.score(responses, answered, self.rollouts / self.options.steps)

    def _resample(self, groups: Sequence[Group], places: Sequence[int]) -> tuple[list[Group], int]:
        """Replaces groups whose scores are all equal by groups of other tasks (DAPO's dynamic sampling, eq. 11).

        Deviations: what must differ is the score, not the correctness alone, which with a reward for the format would
        leave groups out that teach it (what only shapes the reward does not count); and each place of the batch is
        drawn again by itself, at most ``max_resamples`` times, instead of filling a buffer without end.

        Returns:
            The groups, and how many were drawn in addition. The last draw stays, whatever it is.
        """
        result, drawn = list(groups), 0
        if self.spare is None:
            return result, drawn
        for attempt in range(1, self.options.max_resamples + 1):
            dull = [i for i, group in enumerate(result) if not (group.teaches and self._fits(group))]
            if not dull:
                break
            there = [places[i] for i in dull]
            tasks = [self.spare(self.rollouts, place, attempt) for place in there]
            questions = self._questions(tasks)
            made = self._sample(questions, there, f"+{attempt}")
            for i, group in zip(dull, self._grouped(tasks, questions, made), strict=True):
                result[i] = group
            drawn += len(dull)
        return result, drawn

    # -- learning ----------------------------------------------------------------------------------------------------

    def _learn(self, samples: Sequence[_Sampled]) -> dict[str, float]:
        """The inner updates; returns the metrics of the last, over the responses that it was made on.

        Responses that cannot have a gradient (no advantage and no KL term; cut off, where these are masked) are
        counted by the normalisation but not forwarded.
        """
        options = self.options
        kept = [s for s in samples if not (options.mask_truncated and s.truncated)]
        counts = self._counts(kept, len(samples))
        used = [s for s in kept if self.reference is not None or s.advantage != 0]
        if not summed({"used": float(len(used))}, self.vlm.device)["used"]:
            return {}
        with self.vlm.in_step():
            used, corrected = self.within_memory(partial(self._corrected, used), lambda s: (s.row,))
            used = self.within_memory(partial(self._with_reference, used), lambda s: (s.row,))
        tokens = row_tokens([s.row for s in used])
        metrics: dict[str, float] = {}
        for number in range(options.inner_updates):
            seen = self._masked(used, number)
            metrics = self.update(seen, lambda s: (s.row,), counts, self._objective)
            self._spent["trained"] += tokens
            if options.kl_target and "kl" in metrics:
                weight = adapted_weight(self._loss_options.kl_weight, metrics["kl"], options.kl_target)
                self._loss_options = replace(options, kl_weight=weight)
                metrics["kl_weight"] = weight
        return {**corrected, **{f"train/{name}": value for name, value in metrics.items()}}

    def _masked(self, samples: Sequence[_Sampled], update: int) -> list[_Sampled]:
        """The samples as one inner update sees them."""
        name = f"{self.stream}/{self.rollouts}/{update}"
        rows = masked_rows([s.row for s in samples], self.options.prompt_masking, self.vlm, name)
        return [replace(s, row=row) for s, row in zip(samples, rows, strict=True)]

    def _counts(self, kept: Sequence[_Sampled], responses: int) -> dict[Unit, float]:
        """What loss terms are divided by, over all ranks. Masked responses have no tokens but remain responses."""
        own: dict[Unit, float] = {
            "token": float(sum(len(s.row.completion) for s in kept)),
            "sequence": float(responses),
            "capacity": float(responses * self.options.max_new_tokens),
        }
        return summed(own, self.vlm.device)

    def _corrected(self, samples: Sequence[_Sampled]) -> tuple[list[_Sampled], dict[str, float]]:
        """Scores what another engine sampled under the policy as it is now, for weights that correct for the engine.

        Returns:
            The responses, and ``rollout/mismatch_kl``, an estimate of KL(engine, trainer) in nats a token (k3),
            ``importance/clipped``, the share of tokens whose weight is the cap, and ``importance/weight``, the mean.
        """
        cap = self.engine.importance_cap
        if self.engine.exact or not cap:
            return list(samples), {}
        result: list[_Sampled] = []
        sums = {"tokens": 0.0, "rollout/mismatch_kl": 0.0, "importance/clipped": 0.0, "importance/weight": 0.0}
        for part in self.micro_batches(samples, lambda s: (s.row,)):
            with self.vlm.inference():
                lines = self.vlm.logprobs([s.row for s in part], temperature=self.options.temperature).logprobs
            for s, line in zip(part, lines.double().cpu(), strict=True):
                old, engine = line[: len(s.row.completion)], torch.tensor(s.old_logprobs, dtype=torch.float64)
                weights, gap = importance_weights(old, engine, cap), old - engine
                sums["tokens"] += len(old)
                sums["rollout/mismatch_kl"] += float((gap.exp() - 1 - gap).sum())
                sums["importance/clipped"] += float((gap.exp() > cap).sum())
                sums["importance/weight"] += float(weights.sum())
                result.append(replace(s, old_logprobs=tuple(old.tolist()), importance=tuple(weights.tolist())))
        self._spent["reference"] += row_tokens([s.row for s in samples])
        total = summed(sums, self.vlm.device)
        tokens = total.pop("tokens")
        return result, {name: value / tokens for name, value in total.items()}

    def _with_reference(self, samples: Sequence[_Sampled]) -> list[_Sampled]:
        """Scores responses under the reference, once for all inner updates."""
        if self.reference is None:
            return list(samples)
        scored: list[_Sampled] = []
        for part in self.micro_batches(samples, lambda s: (s.row,)):
            logprobs = self.reference.logprobs([s.row for s in part], temperature=self.options.temperature).logprobs
            scored += [
                replace(s, reference_logprobs=line[: len(s.row.completion)])
                for s, line in zip(part, logprobs, strict=True)
            ]
        self._spent["reference"] += row_tokens([s.row for s in samples])
        return scored

    def _objective(self, part: Sequence[_Sampled]) -> Loss:
        options = self.options
        # The distribution that was sampled from is the one that is improved: hence its temperature.
        scored = self.vlm.logprobs([s.row for s in part], temperature=options.temperature, spread=options.track_entropy)
        policy, mask = scored.logprobs, scored.mask

        def padded(lines: Sequence[Tensor]) -> Tensor:
            return pad_sequence(list(lines), batch_first=True).to(policy)

        weights = [torch.tensor(s.importance) for s in part if s.importance is not None]
        references = [s.reference_logprobs for s in part if s.reference_logprobs is not None]
        rollout = RolloutLogprobs(
            policy=policy,
            old=padded([torch.tensor(s.old_logprobs) for s in part]),
            mask=mask,
            reference=padded(references) if references else None,
            importance=padded(weights) if weights else None,
        )
        advantages = torch.tensor([s.advantage for s in part]).to(policy)
        loss = grpo_loss(rollout, advantages, self._loss_options)
        if scored.entropy is None or scored.nucleus is None:
            return loss
        lengths = mask.sum(-1).clamp(min=1)
        spread = {"entropy": scored.entropy, "branching": scored.nucleus}
        means = {name: (values.sum(-1) / lengths).sum() for name, values in spread.items()}
        return Loss(loss.terms, {**loss.metrics, **means})

    # -- accounting --------------------------------------------------------------------------------------------------

    def charge_forward(self, tokens: int) -> None:
        """Adds tokens that somebody else sent through a frozen copy of the policy, for the reward."""
        self._spent["reference"] += tokens

    def _charge(self) -> None:
        """Adds the step's tokens, of all ranks, to the budget."""
        spent = summed({name: float(self._spent[name]) for name in _SPENT}, self.vlm.device)
        self._spent.clear()
        self.budget.sample(int(spent["prompts"]), int(spent["sampled"]))
        self.budget.train(int(spent["trained"]))
        self.budget.forward(int(spent["reference"]))

    def _rollout_metrics(self, groups: Sequence[Group], drawn: int) -> dict[str, float]:
        """Means over the responses of the batch as it was first drawn, all ranks included."""
        own = sums_over(groups, self._fits, self.reward_terms, self.vlm.decode)
        own["drawn"] = drawn
        total = summed({name: float(value) for name, value in own.items()}, self.vlm.device)
        count, drawn_again = total.pop("count"), total.pop("drawn")
        metrics = {f"rollout/{name}": value / count for name, value in total.items()}
        if self.options.max_resamples:
            metrics["rollout/resampled"] = drawn_again
        return metrics
