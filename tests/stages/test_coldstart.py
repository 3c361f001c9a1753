"""What the stage `coldstart` charges for, beside the steps themselves."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning import Callback
from PIL import Image

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.records import PairRecord, write_pairs
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.reference import sequence_logps
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.stages import coldstart
from specs_lab.stages.coldstart import ReferenceCharge, encode_pairs
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


def _pairs(folder: Path, *rejected: str | None) -> Path:
    image = Image.new("RGB", (56, 56), "red")
    sides = enumerate(rejected)
    records = [PairRecord(id=f"{i}", prompt="1+1?", chosen="2", images=(image,), rejected=side) for i, side in sides]
    write_pairs(folder / "pairs.parquet", records)
    return folder / "pairs.parquet"


@pytest.mark.parametrize("options", [DPOOptions(), HybridOptions(), DPOOptions(reference_free=True)])
def test_a_loss_on_two_sides_refuses_data_with_one(toy_vlm, tmp_path, options):
    path = _pairs(tmp_path, "3", None)
    with pytest.raises(UserError, match="some pairs have no rejected one"):
        encode_pairs(toy_vlm, path, options)


def test_data_with_one_side_are_enough_for_sft(toy_vlm, tmp_path):
    chosen, rejected = encode_pairs(toy_vlm, _pairs(tmp_path, None, "3"), SFTOptions())
    assert [row.completion for row in chosen] == toy_vlm.encode_completions(["2", "2"])
    assert [row.completion for row in rejected] == toy_vlm.encode_completions(["", "3"])


def test_both_sides_of_a_pair_share_its_prompt(toy_vlm, tmp_path):
    for one, other in zip(*encode_pairs(toy_vlm, _pairs(tmp_path, "3", "4"), DPOOptions()), strict=True):
        assert one.prompt is other.prompt


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
        options={"adapter": FullAdapter(), "trainer": TrainerOptions()},
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
