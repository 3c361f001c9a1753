"""Making a base model, shrunken to a minute: the checkpoint, its card, and its use as the model of a study."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from specs_lab.models.vlm import VLM

pytestmark = pytest.mark.e2e


def test_pretraining_makes_a_checkpoint_with_a_card(tmp_path: Path):
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "specs_lab.run",
                "experiment=pretrain",
                "pretrain=tiny",
                "suite=quick",
                "suite.n=2",
            ),
            *("pretrain.vision.steps=10", "pretrain.language.steps=10", "pretrain.tokenizer_texts=200"),
            *("pretrain.evaluation_problems=2", "logger=none", "hydra.run.dir=out"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SPECS_LAB_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    job = json.loads((tmp_path / "out" / "job.json").read_text())
    folder = Path(job["stages"]["pretrain"]["folder"]) / "model"
    evaluation = json.loads((folder / "evaluation.json").read_text())
    card = (folder / "README.md").read_text()
    assert len(evaluation["greedy_accuracy"]) == 12
    assert f"{evaluation['mean_greedy_accuracy']:.3f}" in card
    assert "experiment=pretrain pretrain.size=tiny pretrain.base_seed=0" in card
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118
    vlm = VLM.load(folder)
    assert vlm.num_parameters == evaluation["parameters"]
    assert str(vlm.core.lm_head.weight.dtype) == "torch.float32"
