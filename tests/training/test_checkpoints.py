"""A checkpoint holds what learns and what the next step depends on, and a resumed run ends as an uninterrupted one."""

import copy

import pytest
import torch
from lightning import Callback

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.training.cold_start import Pair, SFTModule
from specs_lab.training.fit import AfterSteps, ConsecutiveBatches, Items, ShuffledBatches, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions

STEPS = 3


class _Save(Callback):
    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 0:
            trainer.save_checkpoint(self.path)


class _Seen(Callback):
    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append((batch_idx, [pair.chosen.completion for pair in batch]))


@pytest.fixture
def train(toy_weights, toy_rows):
    pairs = [Pair(row, Row(row.prompt, ())) for row in toy_rows]

    def run(adapter, *, callbacks=(), resume=None, **options):
        vlm = VLM(copy.deepcopy(toy_weights[0]).eval(), toy_weights[1])
        adapter.attach(vlm, seed=1)
        torch.manual_seed(5)
        module = SFTModule(vlm, SFTOptions(steps=STEPS, batch_size=2, **options), 1 << 20)
        batches = ShuffledBatches(len(pairs), 2, STEPS, 0)
        data = Items(len(pairs), pairs.__getitem__)
        fit(module, data, batches, trainer=TrainerOptions(), callbacks=callbacks, resume=resume)
        return module

    return run


def _weights(module):
    return torch.cat([p.detach().flatten() for p in module.vlm.parameters() if p.requires_grad])


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
@pytest.mark.parametrize("adapter", [FullAdapter(), LoraAdapter(rank=2, dropout=0.3)], ids=["full", "dropout"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(train, tmp_path, adapter, optimizer):
    path, whole, rest = tmp_path / "first.ckpt", _Seen(), _Seen()
    first = train(adapter, callbacks=[_Save(path), whole], optimizer=optimizer)
    second = train(adapter, callbacks=[rest], resume=path, optimizer=optimizer)
    assert torch.equal(_weights(first), _weights(second))
    assert rest.batches == whole.batches[1:]
    assert second.updates == first.updates == STEPS
    assert (second.budget.tokens, second.budget.flops) == (first.budget.tokens, first.budget.flops)


def test_the_comparison_can_fail(train, tmp_path):
    """Negative control: without the checkpoint's generators, dropout takes another course."""
    adapter, path = LoraAdapter(rank=2, dropout=0.3), tmp_path / "first.ckpt"
    first = train(adapter, callbacks=[_Save(path)])
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["specs_lab"]["generators"] = {}
    torch.save(checkpoint, path)
    assert not torch.equal(_weights(train(adapter, resume=path)), _weights(first))


def test_a_checkpoint_holds_what_learns_and_no_more_and_is_plain_data(train, tmp_path):
    path = tmp_path / "first.ckpt"
    module = train(LoraAdapter(rank=2), callbacks=[_Save(path)])
    checkpoint = torch.load(path, weights_only=True)  # refuses anything but tensors and plain values
    assert checkpoint["state_dict"].keys() == {n for n, p in module.named_parameters() if p.requires_grad}
    assert len(checkpoint["optimizer_states"]) == 1


def test_a_checkpoint_of_another_adapter_is_refused(train, tmp_path):
    path = tmp_path / "first.ckpt"
    train(LoraAdapter(rank=2), callbacks=[_Save(path)])
    with pytest.raises(UserError, match="of another model or adapter"):
        train(LoraAdapter(rank=2, targets=["q_proj"]), resume=path)


def test_what_is_left_after_some_steps():
    batches = ShuffledBatches(5, 2, 4, seed=0)
    assert list(AfterSteps(batches, 0)) == list(batches)
    assert list(AfterSteps(batches, 3)) == list(batches)[3:]
    assert len(AfterSteps(batches, 3)) == 4  # Lightning counts from the start


class _SaveAt(Callback):
    """Saves after a step, and stops there."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx + 1 == self.step:
            trainer.save_checkpoint(self.path)
            raise SystemExit(143)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_what_is_stopped_after_any_step_goes_on_from_there(train, tmp_path, step):
    whole, rest = _Seen(), _Seen()
    uninterrupted = train(FullAdapter(), callbacks=[whole])
    with pytest.raises(SystemExit):
        train(FullAdapter(), callbacks=[_SaveAt(tmp_path / "a.ckpt", step)])
    resumed = train(FullAdapter(), callbacks=[rest], resume=tmp_path / "a.ckpt")
    assert rest.batches == whole.batches[step:]
    assert torch.equal(_weights(uninterrupted), _weights(resumed))


def test_steps_are_counted_not_updates(toy_weights, toy_problems, tmp_path):
    """Several inner updates make one step of GRPO, or none, where all responses of a batch are as good."""
    tasks = [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]

    def run(resume=None, callbacks=()):
        vlm = VLM(copy.deepcopy(toy_weights[0]).eval(), toy_weights[1])
        options = GRPOOptions(steps=3, inner_updates=2, group_size=4, max_new_tokens=8, lr=1e-3)
        module = GRPOModule(vlm, options, _score, micro_batch_tokens=512, sample_batch_size=8, stream="s")
        batches, data = ConsecutiveBatches(1, 3), Items(3, tasks.__getitem__)
        fit(module, data, batches, trainer=TrainerOptions(), callbacks=callbacks, resume=resume)
        return module

    whole = run()
    with pytest.raises(SystemExit):
        run(callbacks=[_SaveAt(tmp_path / "a.ckpt", 2)])
    resumed = run(resume=tmp_path / "a.ckpt")
    assert torch.equal(_weights(whole), _weights(resumed))
    assert (resumed.steps, resumed.updates, resumed.rollouts) == (whole.steps, whole.updates, whole.rollouts)
    assert whole.updates == 4  # the middle step has none


def _score(responses, tasks, progress):
    """Differs between responses, but for the second of three steps."""
    alike = progress == 1 / 3
    return [Score(False, False, 0.0 if alike else float(len(one.text) % 3), None) for one in responses]


class _Interrupt(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        raise KeyboardInterrupt


def test_ctrl_c_stays_ctrl_c(train):
    """Lightning makes it an exit with code 1."""
    with pytest.raises(KeyboardInterrupt):
        train(FullAdapter(), callbacks=[_Interrupt()])


def test_a_checkpoint_is_written_where_it_belongs(train, tmp_path, monkeypatch):
    """The system's temporary folder may be small, or memory."""
    monkeypatch.setattr("tempfile.mkstemp", lambda *_, **__: pytest.fail("a temporary file"))
    with pytest.raises(SystemExit):
        train(FullAdapter(), callbacks=[_SaveAt(tmp_path / "a.ckpt", 1)])
    assert (tmp_path / "a.ckpt").is_file()
