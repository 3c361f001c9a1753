"""What the stage `coldstart` charges for, beside the steps themselves."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning import Callback

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.reference import sequence_logps
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.stages import coldstart
from specs_lab.stages.coldstart import ReferenceCharge
from specs_lab.stages.store import Store
from specs_lab.training.cold_start import DPOModule, Pair
from specs_lab.training.fit import Items, ShuffledBatches, fit
from specs_lab.training.options.trainer import TrainerOptions


class Totals(Callback):
    """The running totals before the first step and after each."""

    def __init__(self) -> None:
        self.flops: list[float] = []
        self.tokens: list[int] = []

    def on_train_start(self, trainer, pl_module) -> None:
        self._note(pl_module)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self._note(pl_module)

    def _note(self, module) -> None:
        self.flops.append(module.budget.flops)
        self.tokens.append(module.budget.tokens)


def test_the_reference_pass_of_a_pair_is_charged_to_the_step_that_first_sees_it(toy_vlm, toy_rows):
    rejected = [Row(row.prompt, row.completion[:3]) for row in toy_rows]
    tokens = [row_tokens(sides) for sides in zip(toy_rows, rejected, strict=True)]
    pairs = [Pair(*sides, -1.0, -1.0) for sides in zip(toy_rows, rejected, strict=True)]
    batches = ShuffledBatches(len(pairs), 2, 4, seed=0)  # five pairs: the third step sees one again
    module = DPOModule(toy_vlm, DPOOptions(steps=4, batch_size=2), 4)
    totals = Totals()
    charge = ReferenceCharge(batches, tokens, seconds=100.0)
    fit(module, Items(len(pairs), pairs.__getitem__), batches, trainer=TrainerOptions(), callbacks=[charge, totals])

    expected, seen = [0.0], set()
    for batch in batches:
        trained, first = sum(tokens[i] for i in batch), sum(tokens[i] for i in set(batch) - seen)
        expected.append(expected[-1] + module.budget.parameters * (6 * trained + 2 * first))
        seen |= set(batch)
    assert totals.flops == pytest.approx(expected)
    assert totals.tokens[-1] == sum(tokens) + sum(tokens[i] for batch in batches for i in batch)
    assert 500 < module.budget.seconds < 560


def test_the_reference_is_scored_once_for_all_arms_and_refused_for_another_model(
    toy_vlm, toy_rows, tmp_path, monkeypatch
):
    """The store's key names the inputs; the file names what is in them."""
    scored = []

    def score(policy, rows, tokens):
        scored.append(len(rows))
        return sequence_logps(policy, rows, tokens)

    monkeypatch.setattr(coldstart, "sequence_logps", score)
    context = SimpleNamespace(
        store=Store(tmp_path),
        inputs={"model": Path("model-key"), "data": Path("pairs-key")},
        progress=Progress(),
        name="x",
    )
    rejected = [Row(row.prompt, row.completion[:3]) for row in toy_rows]

    def logps(chosen):
        return coldstart.reference_logps(context, toy_vlm, chosen, rejected, 1 << 20)[0]  # pyright: ignore

    first, again = logps(toy_rows), logps(toy_rows)
    assert scored == [2 * len(toy_rows)]
    assert first == again
    assert first[1][0] == pytest.approx(float(sequence_logps(toy_vlm, [toy_rows[1]], 1 << 20)), abs=1e-4)
    with pytest.raises(UserError, match="of another data"):
        logps(toy_rows[::-1])
    next(toy_vlm.parameters()).data += 1e-3
    with pytest.raises(UserError, match="of another model"):
        logps(toy_rows)
