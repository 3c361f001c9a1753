"""The engine with the real vLLM that SPECS_LAB_VLLM names; minutes."""

import os
import signal
import threading

import pytest
import torch

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.models.vlm import VLM
from specs_lab.rollout.engines.base import Question, Site
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.sampling import Sampling

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif("SPECS_LAB_VLLM" not in os.environ, reason="SPECS_LAB_VLLM names no vLLM"),
]


@pytest.fixture
def vlm() -> VLM:
    return VLM.load(EmbeddedModel(size="tiny", base_seed=0).folder, setup=ModelSetup())


@pytest.fixture
def questions(vlm, toy_problems) -> list[Question]:
    asked = [p.question for p in toy_problems], [p.images for p in toy_problems], [p.id for p in toy_problems]
    return [Question(q, tuple(p.images)) for q, p in zip(vlm.encode_prompts(*asked), toy_problems, strict=True)]


@pytest.fixture
def open_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    made = []

    def start(vlm: VLM, temperature: float = 1.0):
        rollout = VllmRollout(
            python=os.environ["SPECS_LAB_VLLM"], args=["--enforce-eager"], max_length=512, parity_tolerance=1e-3
        )
        sampling = Sampling(temperature=temperature, max_new_tokens=32)
        made.append(rollout.open(vlm, Site(folder=tmp_path, logs=tmp_path, sampling=sampling)))
        return made[-1], sampling

    yield start
    for engine in made:
        engine.close()


def _changed(vlm: VLM, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in (p for p in vlm.parameters() if p.requires_grad):
            parameter += 0.02 * torch.randn_like(parameter) * (parameter.abs().mean() + 0.5)
    vlm.features.clear()


def test_full_weights_follow_stale_ones_are_found_and_a_killed_server_comes_back(
    vlm, questions, open_engine, monkeypatch
) -> None:
    engine, sampling = open_engine(vlm)
    print("start", engine.sync(vlm, 0, questions))
    _changed(vlm, 1)
    print("full", engine.sync(vlm, 1, questions))
    keys = [[f"a/{i}/{k}" for k in range(8)] for i in range(5)]
    whole = engine.generate(questions, keys, sampling)
    threading.Timer(0.2, lambda: os.killpg(engine._server._own._process.pid, signal.SIGKILL)).start()
    keys = [[f"b/{i}/{k}" for k in range(64)] for i in range(5)]
    again = engine.generate(questions, keys, sampling)
    assert engine._server._own.lives
    assert [len(group) for group in again] == [64] * 5
    assert [[one.token_ids for one in g] for g in whole] == [
        [one.token_ids for one in g]
        for g in engine.generate(questions, [[f"a/{i}/{k}" for k in range(8)] for i in range(5)], sampling)
    ]
    # A sync that is skipped: the server acknowledges, and samples from the old weights.
    monkeypatch.setattr("specs_lab.rollout.engines.client.Client.load_model", lambda self, _, tag: self.number(tag))
    _changed(vlm, 2)
    with pytest.raises(UserError, match="differ from the trainer's by up to") as error:
        engine.sync(vlm, 2, questions)
    print("stale", error.value.faults[0].what)


def test_an_adapter_follows_at_another_temperature(vlm, questions, open_engine) -> None:
    LoraAdapter(rank=4, alpha=8).attach(vlm, 0)
    engine, sampling = open_engine(vlm, temperature=0.7)
    for step in range(3):
        assert engine.sync(vlm, step, questions)["rollout/parity"] < 1e-4
        engine.generate(questions, [[f"{step}/{i}/0"] for i in range(5)], sampling)
        _changed(vlm, step)
