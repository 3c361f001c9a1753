"""Trains one step on long responses in a process that may not have more memory; run by test_training_faults.py.

Usage: python out_of_memory.py <MiB more than the step before needed>; prints what happened as one line of JSON.
"""

import copy
import json
import re
import resource
import sys
from pathlib import Path

import torch
from lightning import Callback

from specs_lab.models.prompts import Row
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.base import make_problem
from specs_lab.training.cold_start import Pair, SFTModule
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.guards.policy import Guard
from specs_lab.training.options.trainer import TrainerOptions

BATCH, LONG = 16, 300


class _Limit(Callback):
    """Once the first step has made threads and moments, little more memory is given."""

    def __init__(self, more):
        self.more = more

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1:
            now = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
            limit = (int(now.group(1)) << 10) + (self.more << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _train(vlm, data, tokens, told=None, callbacks=()):
    module = SFTModule(vlm, SFTOptions(steps=2, batch_size=BATCH), tokens)
    module.guard = Guard(tell=(told if told is not None else []).append)
    items = Items(len(data), data.__getitem__)
    fit(module, items, ConsecutiveBatches(BATCH, 2), trainer=TrainerOptions(), callbacks=callbacks)
    return module


def main(more):
    vlm = VLM.load(CHECKPOINTS / "tiny-0")
    other = VLM(copy.deepcopy(vlm.model), vlm.processor, setup=vlm.setup)
    problems = [make_problem("count", seed=0, index=i) for i in range(BATCH)]
    prompts = vlm.encode_prompts([p.question for p in problems], [p.images for p in problems], [p.id for p in problems])
    numbers = torch.Generator().manual_seed(0)
    long = [tuple(torch.randint(20, 200, (LONG,), generator=numbers).tolist()) for _ in prompts]
    both = zip([*prompts, *prompts], [*[(20, 21)] * BATCH, *long], strict=True)
    data = [Pair(Row(prompt, ids), Row(prompt, ())) for prompt, ids in both]
    told = []
    module = _train(vlm, data, 1 << 20, told, [_Limit(more)])
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    # The first step is small enough for one micro-batch either way.
    small = _train(other, data, module.micro_batch_tokens)
    pairs = zip(vlm.parameters(), other.parameters(), strict=True)
    result = {
        "told": told,
        "metrics": module.step_metrics,
        "equal": all(torch.equal(a, b) for a, b in pairs),
        "updates": (module.updates, small.updates),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]))
