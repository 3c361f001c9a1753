"""One training step of TRL 1.16's SFT, DPO and GRPO trainers, and ours on the tokens that they saw.

The trainers run as their users run them, on a real checkpoint with pictures, and what they forwarded is recorded.
Losses and the gradients of all parameters, vision tower included, must agree.
"""

import copy
from dataclasses import dataclass
from typing import Any

import datasets
import pytest
import torch

from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.reference import sequence_logps
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions, dpo_loss
from specs_lab.objectives.grpo import GRPOOptions, RolloutLogprobs, grpo_loss
from specs_lab.objectives.hybrid import HybridOptions, hybrid_loss
from specs_lab.objectives.sft import sft_loss
from specs_lab.problems.base import make_problem
from specs_lab.training.cold_start import Pair, score_pairs

UNFROZEN = ModelSetup(freeze_vision=False, freeze_projector=False)

pytest.importorskip("trl", minversion="1.16", reason="TRL is in the dev extra")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

CHECKPOINT = CHECKPOINTS / "tiny-0"
FAMILIES = ("count", "arrow", "digits", "clock")
RELATIVE = 2e-5  # of the norm of a gradient; single precision through three layers and a tower
GROUP = 3


@dataclass
class Seen:
    """What a trainer did in its one step."""

    inputs: dict[str, Any]
    loss: float
    gradients: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    reference: dict[str, torch.Tensor] | None


def _step(trainer_type: type, config: Any, rows: list[dict[str, Any]], **more: Any) -> Seen:
    """Trains for one step, from weights a little off the checkpoint's, which remain the reference's."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    seen: dict[str, Any] = {}

    class Recorded(trainer_type):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            seen["inputs"] = {k: v.clone() if torch.is_tensor(v) else v for k, v in inputs.items()}
            return super().compute_loss(model, inputs, *args, **kwargs)

        def training_step(self, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(model, *args, **kwargs)
            seen["loss"] = float(loss)
            seen["gradients"] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            return loss

    model = AutoModelForImageTextToText.from_pretrained(CHECKPOINT, dtype=torch.float32)
    message = datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")})
    turns = {name: message for name in rows[0] if name != "images"}
    features = datasets.Features({"images": datasets.List(datasets.Image()), **turns})
    trainer = Recorded(
        model=model,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows, features=features),
        processing_class=AutoProcessor.from_pretrained(CHECKPOINT),
        **more,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.01 * parameter.std() * torch.randn(parameter.shape, generator=generator)
    seen["weights"] = copy.deepcopy(trainer.model.state_dict())
    reference = getattr(trainer, "ref_model", None)
    trainer.train()
    return Seen(**seen, reference=None if reference is None else reference.state_dict())


def _arguments(tmp_path: Any, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path),
        "max_steps": 1,
        "learning_rate": 1e-9,
        "max_grad_norm": 0.0,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        **more,
    }


def _examples(*columns: str) -> list[dict[str, Any]]:
    rows = []
    for i, name in enumerate(FAMILIES):
        problem = make_problem(name, seed=0, index=i)
        texts = {"completion": problem.reasoning, "chosen": problem.reasoning, "rejected": f"no {problem.answer}"}
        row: dict[str, Any] = {"images": [problem.image], "prompt": [{"role": "user", "content": problem.question}]}
        rows.append({**row, **{c: [{"role": "assistant", "content": texts[c]}] for c in columns}})
    return rows


def _vlm(weights: dict[str, torch.Tensor]) -> VLM:
    vlm = VLM.load(CHECKPOINT, setup=UNFROZEN)
    vlm.core.load_state_dict(weights)
    return vlm


def _rows(vlm: VLM, inputs: dict[str, Any]) -> list[Row]:
    """The rows of a batch as TRL lays it out; rows with equal prompt and picture share their prompt."""
    if "prompt_ids" in inputs:
        token_ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        kept = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1).bool()
        completion = torch.cat([torch.zeros_like(inputs["prompt_mask"]), inputs["completion_mask"]], dim=1).bool()
    else:
        token_ids, kept = inputs["input_ids"], inputs["attention_mask"].bool()
        completion = inputs["completion_mask"].bool() if "completion_mask" in inputs else inputs["labels"] != -100
    grids = inputs["image_grid_thw"]
    pictures = inputs["pixel_values"].split(grids.prod(-1).tolist())
    prompts: dict[Any, Prompt] = {}
    rows = []
    for ids, keep, target, grid, pixels in zip(token_ids, kept, completion, grids, pictures, strict=True):
        before = ids[keep & ~target]
        key = str((before.tolist(), float(pixels.sum())))
        if key not in prompts:
            vision = {"pixel_values": pixels, "image_grid_thw": grid[None]}
            prompts[key] = Prompt(before, vlm.family.positions(before, vision), vision, key)
        rows.append(Row(prompts[key], tuple(ids[keep & target].tolist())))
    return rows


def _assert_equal(seen: Seen, vlm: VLM, loss: torch.Tensor) -> None:
    assert loss.item() == pytest.approx(seen.loss, rel=1e-5, abs=1e-6)
    loss.backward()
    found = {name: p.grad for name, p in vlm.core.named_parameters() if p.grad is not None}
    assert found.keys() == seen.gradients.keys()
    assert any("visual" in name for name in found)
    whole = torch.cat([g.flatten() for g in seen.gradients.values()]).norm()
    difference = torch.cat([(found[name] - g).flatten() for name, g in seen.gradients.items()]).norm()
    assert whole > 1e-3
    assert difference < RELATIVE * whole


@pytest.fixture(scope="module")
def sft(tmp_path_factory):
    from trl import SFTConfig, SFTTrainer

    arguments = _arguments(tmp_path_factory.mktemp("sft"), per_device_train_batch_size=4, max_length=None)
    return _step(SFTTrainer, SFTConfig(**arguments), _examples("completion"))


@pytest.fixture(scope="module")
def dpo(tmp_path_factory):
    from trl import DPOConfig, DPOTrainer

    arguments = _arguments(tmp_path_factory.mktemp("dpo"), per_device_train_batch_size=4, max_length=None)
    arguments |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5], "beta": 0.3}
    return _step(DPOTrainer, DPOConfig(**arguments), _examples("chosen", "rejected"))


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    from trl import GRPOConfig, GRPOTrainer

    arguments = _arguments(tmp_path_factory.mktemp("grpo"), per_device_train_batch_size=2 * GROUP)
    arguments |= {"num_generations": GROUP, "max_completion_length": 9, "beta": 0.2, "temperature": 0.8}
    config = GRPOConfig(**arguments, loss_type="dapo", shuffle_dataset=False, use_bias_correction_kl=False)

    def varied(completions: list[Any], **_: Any) -> list[float]:
        return [float(i % GROUP) for i in range(len(completions))]

    return _step(GRPOTrainer, config, _examples(), reward_funcs=varied)


def test_sft(sft):
    vlm = _vlm(sft.weights)
    rows = _rows(vlm, sft.inputs)
    scored = vlm.logprobs(rows)
    loss = sft_loss(scored.logprobs, scored.mask, "token")
    _assert_equal(sft, vlm, loss.normalised({"token": float(scored.mask.sum())}))


def _pairs(vlm: VLM, seen: Seen) -> list[Pair]:
    rows = _rows(vlm, seen.inputs)
    count = len(rows) // 2
    chosen, rejected = rows[:count], rows[count:]
    assert all(c.prompt is r.prompt for c, r in zip(chosen, rejected, strict=True))
    assert seen.reference is not None
    logps = sequence_logps(_vlm(seen.reference), rows, 1 << 20).tolist()
    return [Pair(*item) for item in zip(chosen, rejected, logps[:count], logps[count:], strict=True)]


def test_dpo_with_an_sft_term(dpo):
    vlm = _vlm(dpo.weights)
    pairs = _pairs(vlm, dpo)
    logps, chosen = score_pairs(vlm, pairs)
    loss = hybrid_loss(logps, chosen.logprobs, chosen.mask, HybridOptions(beta=0.3, sft_weight=0.5))
    _assert_equal(dpo, vlm, loss.normalised({"token": float(chosen.mask.sum()), "sequence": float(len(pairs))}))


def test_the_comparison_can_fail(dpo):
    """Negative control: DPO alone is not DPO with an SFT term."""
    vlm = _vlm(dpo.weights)
    pairs = _pairs(vlm, dpo)
    loss = dpo_loss(score_pairs(vlm, pairs)[0], DPOOptions(beta=0.3)).normalised({"sequence": float(len(pairs))})
    with pytest.raises(AssertionError):
        _assert_equal(dpo, vlm, loss)


def test_grpo_with_a_kl_term(grpo):
    vlm = _vlm(grpo.weights)
    rows = _rows(vlm, grpo.inputs)
    assert len({id(row.prompt) for row in rows}) == 2
    assert grpo.reference is not None
    with torch.no_grad():
        reference = _vlm(grpo.reference).logprobs(rows, temperature=0.8).logprobs
    scored = vlm.logprobs(rows, temperature=0.8)
    rollout = RolloutLogprobs(scored.logprobs, scored.logprobs.detach(), scored.mask, reference)
    options = GRPOOptions(kl_weight=0.2, loss_norm="token", temperature=0.8)
    loss = grpo_loss(rollout, grpo.inputs["advantages"], options)
    _assert_equal(grpo, vlm, loss.normalised({"token": float(scored.mask.sum())}))
