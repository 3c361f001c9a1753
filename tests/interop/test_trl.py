"""What we write, TRL's own trainers take as it is: one real step each, on an exported model."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from specs_lab.core.progress import Progress
from specs_lab.data.constructions.gold import Gold
from specs_lab.data.records import PairRecord, read_pairs, write_pairs
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.interop.weights import write_folder
from specs_lab.models.processing import load_processor
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.stages import construct
from specs_lab.stages.store import Store
from specs_lab.training.options.trainer import TrainerOptions

pytest.importorskip("trl", minversion="1.16", reason="TRL is in the dev extra")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    write_folder(VLM.load(CHECKPOINTS / "tiny-0"), folder, dtype="float32", sampling={"do_sample": False})
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Pairs of a real construction, with both sides."""
    folder, base = tmp_path_factory.mktemp("pairs"), tmp_path_factory.mktemp("base")
    shutil.copytree(CHECKPOINTS / "tiny-0", base / "model")
    ModelSetup().write(base)
    problems = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell()})
    data = Gold(pairs=4, rejected_form="polluted")
    context: Any = SimpleNamespace(
        options={"data": data, "problems": problems, "judge": NoJudge(), "trainer": TrainerOptions()},
        **{"inputs": {"base": base}, "folder": folder, "seed": 0, "stream": "", "name": "pairs"},
        **{"work": folder / ".work", "progress": Progress(), "loggers": list, "store": Store(folder.parent / "store")},
    )
    construct.run(context)
    return folder / "pairs.parquet"


def _train(kind: str, model: Path, file: Path, out: Path) -> Any:
    """One step on a file, nothing of which is renamed, removed or converted; returns the trainer."""
    import trl
    from transformers import AutoModelForImageTextToText

    arguments = {
        **{"output_dir": str(out / "trained"), "max_steps": 1, "learning_rate": 1e-3, "max_length": None},
        **{"report_to": [], "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, "use_cpu": True},
        **{"bf16": False, "gradient_checkpointing": False, "per_device_train_batch_size": 4},
    }
    trainer = getattr(trl, f"{kind}Trainer")(
        model=AutoModelForImageTextToText.from_pretrained(model),
        args=getattr(trl, f"{kind}Config")(**arguments),
        train_dataset=datasets.Dataset.from_parquet(str(file), cache_dir=str(out / "cache")),
        processing_class=load_processor(model),
    )
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    assert any(not value.equal(before[name]) for name, value in trainer.model.named_parameters())
    (loss,) = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert math.isfinite(loss)
    assert loss > 0
    return trainer


@pytest.mark.parametrize("kind", ["SFT", "DPO"])
def test_a_construction_s_file_trains_in_both_trainers(kind, exported, pairs, tmp_path):
    _train(kind, exported, pairs, tmp_path)


def _written(records: list[PairRecord], path: Path) -> Path:
    write_pairs(path, records)
    return path


@pytest.mark.parametrize("kind", ["SFT", "DPO"])
@pytest.mark.parametrize("what", ["several pictures", "pictures in their places", "no pictures", "some pictures"])
def test_rows_with_any_number_of_pictures_train(kind, what, exported, pairs, tmp_path):
    one, two, three, four = read_pairs(pairs)
    both = (*one.images, *two.images)
    records = {
        "several pictures": [replace(one, images=both), replace(two, images=both), three, four],
        "pictures in their places": [
            replace(one, images=both, prompt="Of <image> and <image>, which?"),
            three,
            replace(four, images=(), prompt="none"),
        ],
        "no pictures": [replace(pair, images=()) for pair in (one, two, three, four)],
        "some pictures": [one, replace(two, images=()), three, four],
    }[what]
    _train(kind, exported, _written(records, tmp_path / "pairs.parquet"), tmp_path)


def test_trl_shows_pictures_where_the_marks_are(exported, pairs, tmp_path):
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    one, two, *_ = read_pairs(pairs)
    record = replace(one, images=(*one.images, *two.images), prompt="Of <image> and <image>, which?")
    path = _written([record, two], tmp_path / "pairs.parquet")
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    processor = load_processor(exported)
    asked = [{name: row[name] for name in ("images", "prompt", "completion")} for row in rows]
    batch = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(asked)
    vlm = VLM.load(CHECKPOINTS / "tiny-0")
    prompts = vlm.encode_prompts([record.prompt, two.prompt], [record.images, two.images], ["a", "b"])
    for prompt, ids, labels, kept in zip(
        prompts, batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True
    ):
        assert ids[(labels == -100) & (kept == 1)].tolist() == prompt.token_ids.tolist()
