"""What sharding does to a model, seen in one process that holds all shares; several are in test_distributed.py."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.prompts import Row
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.training.distributed import clip_gradients, dealt_back
from specs_lab.training.sharding import shard, whole_state

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_rank():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _twins(weights, **options) -> tuple[VLM, VLM]:
    """Two equal models, the second one sharded."""
    model, processor = weights
    whole, sharded = (VLM(copy.deepcopy(model), processor, **options) for _ in range(2))
    shard([sharded], CPU)
    return whole, sharded


def _rows(vlm, problems):
    prompts = vlm.encode_prompts([p.question for p in problems], [p.images for p in problems], [p.id for p in problems])
    answers = vlm.encode_completions([p.answer for p in problems])
    return [Row(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]


@pytest.mark.parametrize("share_prompts", [True, False])
def test_passes_and_gradients_are_those_of_the_whole_model(toy_weights, toy_problems, share_prompts):
    setup = ModelSetup(freeze_vision=False, freeze_projector=False)
    whole, sharded = _twins(toy_weights, setup=setup, share_prompts=share_prompts)
    for vlm in (whole, sharded):
        with vlm.in_step():
            vlm.logprobs(_rows(vlm, toy_problems)).logprobs.sum().backward()
    gradients = {name: p.grad for name, p in sharded.model.named_parameters() if p.grad is not None}
    expected = {name: p.grad for name, p in whole.model.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        full = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
        torch.testing.assert_close(full, expected[name])
    norms = [clip_gradients(list(vlm.parameters()), 0.5) for vlm in (whole, sharded)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(gradients[name].full_tensor(), expected[name])  # both were clipped


@pytest.mark.parametrize("share_prompts", [True, False])
def test_a_sharded_model_samples_the_same_tokens(toy_weights, toy_problems, share_prompts):
    made = []
    for vlm in _twins(toy_weights, share_prompts=share_prompts):
        prompts = [row.prompt for row in _rows(vlm, toy_problems)]
        with vlm.in_step():
            made.append(generate(vlm, prompts, [["a", "b"]] * len(prompts), Sampling(temperature=1, max_new_tokens=5)))
    tokens = [[one.token_ids for group in groups for one in group] for groups in made]
    assert tokens[0] == tokens[1]


def test_a_pass_out_of_step_is_an_error_instead_of_a_hang(toy_weights, toy_problems):
    _, sharded = _twins(toy_weights)
    with pytest.raises(RuntimeError, match="in_step"):
        sharded.logprobs(_rows(sharded, toy_problems))


def test_what_is_frozen_of_the_tower_stays_whole_and_what_learns_is_sharded(toy_weights):
    for frozen in (True, False):
        _, sharded = _twins(toy_weights, setup=ModelSetup(freeze_vision=frozen, freeze_projector=frozen))
        tower = sharded.family.tower_parameters().values()
        assert all(isinstance(parameter, DTensor) != frozen for parameter in tower)
        assert all(isinstance(p, DTensor) for p in sharded.family.text_model.parameters())


def test_adapters_stay_whole_and_what_they_are_on_is_sharded(toy_weights):
    model, processor = toy_weights
    vlm = VLM(copy.deepcopy(model), processor)
    LoraAdapter(rank=2).attach(vlm, seed=0)
    shard([vlm], CPU)
    assert {isinstance(parameter, DTensor) for parameter in vlm.parameters() if parameter.requires_grad} == {False}
    assert isinstance(vlm.family.text_model.norm.weight, DTensor)


def test_the_gathered_weights_are_saved_as_those_of_the_whole_model(tmp_path):
    whole, sharded = (VLM.load(CHECKPOINTS / "tiny-0") for _ in range(2))
    shard([sharded], CPU)
    assert whole_state(whole.model) is None
    whole.save(tmp_path / "whole")
    sharded.save(tmp_path / "sharded", whole_state(sharded.model))
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "sharded" / path.name).read_bytes(), path.name


def test_four_bit_weights_are_refused(toy_vlm):
    toy_vlm.core.is_loaded_in_4bit = True
    with pytest.raises(UserError, match="four bits"):
        shard([toy_vlm], CPU)


def test_shares_are_dealt_back_in_order():
    assert dealt_back([["a", "d"], ["b"], ["c"]]) == ["a", "b", "c", "d"]
