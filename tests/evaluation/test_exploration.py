"""Many responses to each problem: what is looked at token by token, on both sampling paths."""

import pytest

from specs_lab.evaluation.exploration import Explorer
from specs_lab.evaluation.suites.sampled import SampledSuite
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.problems.scoring import assessor
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling

PROBLEMS = ProceduralProblems(
    families=["count", "digits"], instructions=["tags"], styles=["plain"], cells={"id": Cell()}
)


def explorer(**options) -> Explorer:
    suite = SampledSuite(**{"cells": ["id"], "n": 3, "samples": 4, "spread_samples": 2, "max_new_tokens": 6, **options})
    return Explorer(suite, PROBLEMS, batch_size=8, micro_batch_tokens=100, score=assessor())


def test_spread_is_that_of_the_first_responses_at_temperature_one(toy_vlm):
    explored = explorer()
    found = [one for part in explored.explore(toy_vlm) for one in part]
    assert [one.task for one in found] == explored.tasks
    sampling = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=6)
    for one in found:
        (prompt,) = toy_vlm.encode_prompts([one.task.text], [one.task.images], [one.task.problem.id])
        keys = [f"explore/{one.task.id}/{k}" for k in range(4)]
        (group,) = generate(toy_vlm, [prompt], [keys], sampling)
        assert one.answered.texts == [toy_vlm.decode(made.token_ids) for made in group]
        assert one.answered.lengths == [len(made.token_ids) for made in group]
        nucleus, entropy = [], []
        with toy_vlm.inference():
            for made in group[:2]:
                scored = toy_vlm.logprobs([Row(prompt, made.token_ids)], temperature=1.0, spread=True)
                nucleus += scored.nucleus[0].tolist()
                entropy += scored.entropy[0].tolist()
        assert one.answered.nucleus == nucleus
        assert one.answered.entropy == pytest.approx(entropy, abs=1e-4)


def test_nothing_is_looked_at_unless_asked_for(toy_vlm, monkeypatch):
    monkeypatch.setattr(toy_vlm, "logprobs", lambda *_, **__: pytest.fail("looked"))
    (part,) = explorer(spread_samples=0).explore(toy_vlm)
    assert [one.answered.nucleus for one in part] == [[]] * 3


def test_models_whose_prompts_cannot_be_shared_are_explored_alike(toy_vlm):
    plain = VLM(toy_vlm.model, toy_vlm.processor, share_prompts=False)
    ours, theirs = ([one.answered for part in explorer().explore(vlm) for one in part] for vlm in (toy_vlm, plain))
    for one, other in zip(ours, theirs, strict=True):
        assert one.texts == other.texts
        assert one.nucleus == other.nucleus
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
