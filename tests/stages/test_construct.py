"""How the stage `construct` samples."""

from collections import Counter

from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import Task
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.stages.construct import make_sampler


def test_responses_that_were_cut_are_left_out_and_counted(toy_vlm, toy_problems, toy_prompts):
    tasks = [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]
    prompts = toy_vlm.encode_prompts([task.text for task in tasks], [p.image for p in toy_problems], list("abcde"))
    keys = [[f"chosen/7/{task.id}/{k}" for k in range(40)] for task in tasks]
    sampling = Sampling(max_new_tokens=60)
    made = generate(toy_vlm, prompts, keys, sampling)
    whole = [[toy_vlm.decode(one.token_ids) for one in group if not one.truncated] for group in made]
    total = sum(len(group) for group in whole)
    assert 0 < total < 200  # a random model ends some of its responses

    cut: Counter[str] = Counter()
    assert make_sampler(toy_vlm, sampling, "chosen", 7, 64, cut)(tasks, 40) == whole
    assert cut == {"cut/chosen": 200 - total}
