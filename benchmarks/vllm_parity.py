"""Whether vLLM says what we say: ``SPECS_LAB_VLLM=.../bin/python python -m benchmarks.vllm_parity``.

Exports the shipped small base model in float32, serves it by vLLM's CPU build, and asks both the same procedural
problems, greedily. Prompts must have the same tokens, and responses the same text. Where they differ, it is looked
whether the model itself was undecided: two tokens whose logits are closer than rounding.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from benchmarks.vllm_server import Answer, Server, run_python
from specs_lab.interop.weights import write_folder
from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.models.vlm import VLM
from specs_lab.problems.base import FAMILIES, Problem, make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling

MAX_TOKENS = 48
TIE = 1e-4
"""Two logits closer than this are a tie: what rounding decides is not the model's answer."""
_AT_ONCE = 8
_VERSIONS = (
    "import json, torch, transformers, torchvision, vllm; "
    "print(json.dumps({m.__name__: m.__version__ for m in (vllm, torch, transformers, torchvision)}))"
)
# What a reader does who has torchvision, and with it transformers' own processor.
_STOCK = """
import json, sys
import numpy as np
from PIL import Image
from transformers import AutoProcessor

folder, asked = sys.argv[1], json.loads(sys.argv[2])
processor = AutoProcessor.from_pretrained(folder)
made = {}
for i, (text, file) in enumerate(asked):
    content = [{"type": "image"}, {"type": "text", "text": text}]
    turn = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    seen = processor(text=[turn], images=[Image.open(file)], return_tensors="np")
    made |= {f"ids{i}": seen["input_ids"][0], f"pixels{i}": seen["pixel_values"]}
np.savez(sys.argv[3], **made)
print(json.dumps(type(processor).__name__))
"""
_STOCK_QUESTIONS = 12


@dataclass(frozen=True)
class Question:
    """One problem under one instruction.

    Attributes:
        name: What to call it.
        problem: The problem.
        text: The whole user turn.
    """

    name: str
    problem: Problem
    text: str


@dataclass(frozen=True)
class Ours:
    """Our own side of a question.

    Attributes:
        prompt: The prompt's tokens.
        token_ids: The response's.
        text: The response.
    """

    prompt: Prompt
    token_ids: tuple[int, ...]
    text: str


def questions(count: int) -> list[Question]:
    """Problems of all families in turn, under all instructions in turn."""
    families, wordings = FAMILIES.names(), list(INSTRUCTIONS)
    asked = []
    for i in range(count):
        problem = make_problem(families[i % len(families)], seed=0, index=i, split="id")
        instruction = INSTRUCTIONS[wordings[(i // len(families)) % len(wordings)]]
        asked.append(Question(f"{problem.id}/{instruction.name}", problem, instruction.ask(problem.question)))
    return asked


def our_side(vlm: VLM, asked: Sequence[Question], max_tokens: int = MAX_TOKENS) -> list[Ours]:
    """Our greedy responses."""
    names = [question.name for question in asked]
    prompts = vlm.encode_prompts([q.text for q in asked], [q.problem.images for q in asked], names)
    said = generate(vlm, prompts, [[name] for name in names], Sampling(temperature=0.0, max_new_tokens=max_tokens))
    return [Ours(p, one.token_ids, vlm.decode(one.token_ids)) for p, (one,) in zip(prompts, said, strict=True)]


def their_side(server: Server, asked: Sequence[Question], max_tokens: int = MAX_TOKENS) -> list[Answer]:
    """vLLM's; several questions are in flight at once, as its users would have them."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda q: server.ask(q.text, q.problem.images, max_tokens), asked))


def compare(vlm: VLM, asked: Sequence[Question], ours: Sequence[Ours], theirs: Sequence[Answer]) -> dict[str, Any]:
    """Counts of equal prompts and texts, and each difference with the gap between the two tokens' logits."""
    differing = []
    for question, mine, other in zip(asked, ours, theirs, strict=True):
        if mine.text == other.text:
            continue
        gap = gap_at_parting(vlm, mine, other)
        line = {"question": question.name, "ours": mine.text, "vllm": other.text, "logit_gap": gap}
        differing.append({**line, "tie": gap is not None and gap < TIE})
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "questions": len(asked),
        "same_text": len(asked) - len(differing),
        "same_tokens": sum(mine.token_ids == other.token_ids for mine, other in pairs),
        "same_prompt_tokens": sum(tuple(mine.prompt.token_ids.tolist()) == other.prompt_ids for mine, other in pairs),
        "prompt_tokens": sum(len(other.prompt_ids) for other in theirs),
        "generated_tokens": sum(len(other.token_ids) for other in theirs),
        "distinct_texts": len({mine.text for mine in ours}),
        "ties": sum(line["tie"] for line in differing),
        "differing": differing,
    }


def gap_at_parting(vlm: VLM, mine: Ours, other: Answer) -> float | None:
    """Difference of our log-probabilities of both sides' tokens where they part; None if one is the other's start."""
    for place, (left, right) in enumerate(zip(mine.token_ids, other.token_ids, strict=False)):
        if left != right:
            rows = [Row(mine.prompt, (*mine.token_ids[:place], token)) for token in (left, right)]
            with torch.no_grad():
                scored = vlm.logprobs(rows).logprobs
            return abs(float(scored[0, place] - scored[1, place]))
    return None


def stock_processor(exported: Path, asked: Sequence[Question], ours: Sequence[Ours], folder: Path) -> dict[str, Any]:
    """What transformers' own processor makes of a few questions, beside ours.

    Args:
        exported: The exported model.
        asked: The questions.
        ours: Our side of them.
        folder: Where pictures and results are put.

    Returns:
        Its class, how many questions it was given, for how many it makes the same tokens, and by how much pixels differ
        at most, after normalisation.
    """
    files = [folder / f"{i}.png" for i in range(len(asked))]
    for question, file in zip(asked, files, strict=True):
        question.problem.image.save(file)
    texts = json.dumps([(question.text, str(file)) for question, file in zip(asked, files, strict=True)])
    name = json.loads(run_python(_STOCK, str(exported), texts, str(folder / "stock.npz")).splitlines()[-1])
    with np.load(folder / "stock.npz") as made:
        ids = [made[f"ids{i}"].tolist() == one.prompt.token_ids.tolist() for i, one in enumerate(ours)]
        pixels = [
            float(np.abs(made[f"pixels{i}"] - one.prompt.vision["pixel_values"].numpy()).max())
            for i, one in enumerate(ours)
        ]
    return {"class": name, "questions": len(asked), "same_tokens": sum(ids), "pixels_differ_by": max(pixels)}


def run(count: int, folder: Path) -> dict[str, Any]:
    """Exports, serves, asks and compares.

    Args:
        count: How many questions.
        folder: A folder for the exported model and the server's log.
    """
    base = EmbeddedModel(size="small", base_seed=0).folder
    setup = ModelSetup(dtype="float32")
    exported = folder / "model"
    exported.mkdir()
    write_folder(VLM.load(base, setup=setup), exported, dtype="float32", sampling={"do_sample": False})
    vlm, asked = VLM.load(base, setup=setup), questions(count)
    ours = our_side(vlm, asked)
    few = slice(min(count, _STOCK_QUESTIONS))
    stock = stock_processor(exported, asked[few], ours[few], folder)
    with Server(exported, folder / "vllm.log", length=512) as server:
        theirs = their_side(server, asked)
    return {
        "kind": "vllm",
        "machine": machine(),
        "vllm_versions": json.loads(run_python(_VERSIONS).splitlines()[-1]),
        "settings": {"model": base.name, "dtype": "float32", "max_tokens": MAX_TOKENS, "at_once": _AT_ONCE},
        "stock_processor": stock,
        **compare(vlm, asked, ours, theirs),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison; the exit code is 1 if any text differs without a tie, or any prompt does."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm_parity", description=__doc__)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "vllm.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = run(given.questions, Path(folder))
    write(results, given.out)
    said = {name: results[name] for name in ("questions", "same_text", "same_prompt_tokens", "ties", "differing")}
    print(json.dumps(said, indent=1))
    sound = results["same_text"] + results["ties"] == results["same_prompt_tokens"] == results["questions"]
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
