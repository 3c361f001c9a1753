"""The same commands with real names: a family's checkpoint, a dataset and a benchmark in the layout of their owners.

Local copies stand in for the hub; everything that reads them is what reads the real ones.
"""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image, ImageDraw

from specs_lab.data.records import PairRecord, write_pairs

pytestmark = pytest.mark.e2e
_SPEC = importlib.util.spec_from_file_location(
    "tiny_checkpoints", Path(__file__).parents[1] / "models" / "tiny_checkpoints.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
tiny_checkpoints = importlib.util.module_from_spec(_SPEC)
sys.modules["tiny_checkpoints"] = tiny_checkpoints  # its dataclasses look it up
_SPEC.loader.exec_module(tiny_checkpoints)

SMOKE = ("experiment=smoke", "logger=none", "rl.max_new_tokens=8", "zero.max_new_tokens=8", "data.pairs=4")
STAGES = ("base", "zero", "pairs", "cold", "final")


def _picture(number: int) -> Image.Image:
    image = Image.new("RGB", (96, 64), "white")
    ImageDraw.Draw(image).rectangle((4, 4, 10 + number % 60, 40), fill=(29 * number % 256, 90, 160))
    return image


def _png(number: int) -> bytes:
    file = io.BytesIO()
    _picture(number).save(file, "PNG")
    return file.getvalue()


def _problem(number: int) -> dict[str, Any]:
    """A number is asked for, or, out of distribution, one of three options."""
    question, answer = f"How wide is bar {number}?", f"{number}"
    if number % 2:
        question, answer = f"{question}\nChoices:\nA. {number}\nB. {number + 1}\nC. {number + 2}", "A"
    return {
        "image": {"bytes": _png(number), "path": None},
        "problem": question,
        "solution": f"<think>It is {number} wide.</think>\n\n<answer>{answer}</answer>",
        "original_question": question,
        "original_answer": answer,
    }


def _write(rows: list[dict[str, Any]], path: Path, *pictures: str) -> None:
    from datasets import Dataset
    from datasets import Image as Picture

    path.parent.mkdir(parents=True)
    table = Dataset.from_list(rows)
    for name in pictures:
        table = table.cast_column(name, Picture())
    table.to_parquet(path)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    """A checkpoint, a dataset and a benchmark."""
    folder = tmp_path_factory.mktemp("hub")
    _write(
        [_problem(number) for number in range(160)],
        folder / "open_r1" / "data" / "train-00000-of-00001.parquet",
        "image",
    )
    questions = [
        {
            "pid": str(number),
            "question": f"How wide is bar {number}?",
            "image": f"images/{number}.jpg",
            "decoded_image": {"bytes": _png(number), "path": None},
            "choices": ["1", "2"] if number % 2 else None,
            "unit": None,
            "precision": None,
            "answer": "1" if number % 2 else str(number),
            "question_type": "multi_choice" if number % 2 else "free_form",
            "answer_type": "text" if number % 2 else "integer",
            "metadata": {"task": "figure question answering", "category": "general-vqa", "source": "here"},
            "query": f"Question: How wide is bar {number}?",
        }
        for number in range(8)
    ]
    _write(questions, folder / "mathvista" / "data" / "testmini-00000-of-00001.parquet", "decoded_image")
    pairs = [
        PairRecord(
            id=str(number),
            prompt="<image> How wide is it?",
            images=(_picture(number),),
            chosen=f"<think> {number} </think> <answer> {number} </answer>",
            rejected=f"The answer is {number}.",
        )
        for number in range(6)
    ]
    write_pairs(folder / "pairs.parquet", pairs)
    tiny_checkpoints.tiny_checkpoint("smolvlm", folder / "smolvlm")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def run(places, tmp_path_factory):
    """Runs `specs-lab` in a folder of its own; the store is shared."""
    store = tmp_path_factory.mktemp("store")

    def call(*arguments: str, folder: Path, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "specs_lab.run", *arguments],
            cwd=folder,
            env={**os.environ, "SPECS_LAB_CACHE": str(store)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    return call


@pytest.fixture(scope="module")
def named(places) -> list[str]:
    """Overrides: a real family, dataset and benchmark, each from a local copy."""
    return [
        "model=smolvlm_500m",
        f"model.path={places['smolvlm']}",
        "problems=multimodal_open_r1",
        f"problems.path={places['open_r1']}",
        "suite=mathvista",
        f"suite.path={places['mathvista']}",
        "suite.n=4",
        "suite.max_new_tokens=8",
        "adapter=lora",
        *SMOKE,
    ]


@pytest.fixture(scope="module")
def sweep(run, named, places, tmp_path_factory) -> dict[str, Any]:
    """The folder of a study of SPECS, and the record of each of its jobs by arm."""
    folder = tmp_path_factory.mktemp("sweep")
    data = [f"data.path={places['pairs.parquet']}"]
    run("-m", "coldstart=sft,hybrid", "data=file", *data, *named, "hydra.sweep.dir=sweep", folder=folder)
    records = [json.loads(path.read_text()) for path in sorted((folder / "sweep").glob("*/job.json"))]
    return {"folder": folder / "sweep", "jobs": {record["arm"]: record for record in records}}


def test_the_study_ends_and_its_stages_keep_adapters_only(sweep):
    assert set(sweep["jobs"]) == {"sft", "hybrid"}
    for job in sweep["jobs"].values():
        assert job["status"] == "completed"
        assert set(STAGES) <= set(job["stages"])
        for name in ("zero", "cold", "final"):
            files = {path.name for path in Path(job["stages"][name]["folder"]).rglob("*.safetensors")}
            assert files == {"adapter_model.safetensors"}


def test_the_benchmark_is_measured_beside_held_out_problems(sweep):
    job = sweep["jobs"]["hybrid"]
    folder = Path(job["stages"]["evaluate_final"]["folder"])
    samples = pd.read_parquet(folder / "samples.parquet")
    assert samples.groupby("cell").size().to_dict() == {"id": 4, "mathvista": 8}
    told = json.loads((folder / "benchmark.json").read_text())
    assert (told["rows"], told["used"]) == (8, 8)
    assert (sweep["folder"] / "summary.csv").stat().st_size


def test_responses_are_scored_again_without_model_and_data(sweep, run, tmp_path):
    folder = sweep["jobs"]["hybrid"]["stages"]["evaluate_final"]["folder"]
    run("rescore", folder, "--out", str(tmp_path / "again"), folder=tmp_path)
    assert any((tmp_path / "again").glob("*.csv"))


def test_what_was_trained_is_exported_as_a_plain_checkpoint(sweep, run, tmp_path):
    (job,) = (path.parent for path in sweep["folder"].glob("*/job.json") if "hybrid" in path.parent.name)
    run("export", str(job), "--stage", "final", "--to", "exported", folder=tmp_path)
    there = {path.name for path in (tmp_path / "exported").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= there
    assert not any("adapter" in name for name in there)


def test_solutions_of_the_dataset_are_cold_start_data(run, named, tmp_path):
    """The construction that needs derivations finds those of the dataset."""
    gold = ["recipe=cold_only", "data=gold", "data.rejected_form=none", "coldstart=sft"]
    assert "sft" in run(*gold, *named, folder=tmp_path).lower()


def test_doctor_and_inspect_take_the_same_names(run, named, tmp_path):
    said = run("doctor", *named, "--tasks", "4", "--no-dry-run", folder=tmp_path)
    assert "memory" in said
    data = [name for name in named if name.startswith(("problems", "model"))]
    run("inspect", *data, "--out", "page", folder=tmp_path)
    assert any((tmp_path / "page").glob("*.png"))
