"""An exported model is a plain folder: what it says, what it holds, and that others load it as we do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, metadata_load
from safetensors.torch import load_file

from specs_lab import export as command
from specs_lab.core.errors import UserError
from specs_lab.interop.exporting import export
from specs_lab.interop.lineage import (
    StageFacts,
    base_models,
    data_sets,
    facts_of,
    lineage_of,
    without_paths,
)
from specs_lab.interop.sources import Source, find_source
from specs_lab.interop.weights import sampling_of, write_folder
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapting import write_adapter
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.stages.chain import ADAPTER, MODEL, merged_vlm, write_link
from specs_lab.stages.store import Store

# What a reader does who has transformers and nothing else: no torchvision, no specs_lab.
READER = """
import json, sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, asked = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForImageTextToText.from_pretrained(folder)
tokenizer, pictures = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
said = []
for text, file in asked:
    seen = pictures(images=[Image.open(file)], return_tensors="pt")
    content = [{"type": "image"}, {"type": "text", "text": text}]
    turn = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    count = int(seen["image_grid_thw"].prod()) // pictures.merge_size**2
    turn = turn.replace("<|image_pad|>", "<|image_pad|>" * count)
    inputs = {**tokenizer(turn, return_tensors="pt", add_special_tokens=False), **seen}
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    with torch.no_grad():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=48)[0, inputs["input_ids"].shape[1]:]
    said.append(tokenizer.decode(ids, skip_special_tokens=True))
assert not any(name.split(".")[0] in ("specs_lab", "torchvision") for name in sys.modules)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store with a base model, pairs, and an adapter on the base that was trained on the pairs (in a way)."""
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder)

    def base(to: Path) -> None:
        shutil.copytree(CHECKPOINTS / "tiny-0", to / MODEL)
        ModelSetup().write(to)

    def pairs(to: Path) -> None:
        (to / "pairs.parquet").write_bytes(b"pairs")
        (to / "card.json").write_text('{"pairs": 12}')

    def cold(to: Path) -> None:
        vlm, adapter = merged_vlm(folder / "base" / "b0", folder), LoraAdapter()
        adapter.attach(vlm, seed=0)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in vlm.model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.02, generator=generator)
        write_adapter(vlm, to / ADAPTER)
        write_link(to, folder / "base" / "b0", adapter.holding(vlm.setup))
        vlm.setup.write(to)
        (to / "rows.csv").write_text(
            "step,cell,metric,value,n,tokens,flops,generated_tokens,seconds\n1,,train/loss,1,1,1234,5e6,0,2.5\n"
        )

    def about(name: str, options: dict, inputs: dict | None = None, seed: int | None = None) -> dict:
        return {"name": name, "options": options, "inputs": inputs or {}, "seed": seed, "versions": {"torch": "2.13"}}

    model = {"class": "EmbeddedModel", "size": "tiny", "base_seed": 0, "note": "/home/somebody/models/tiny"}
    store.make("base", "b0", base, about("base", {"model": model}))
    problems = {"class": "DatasetProblems", "repo": "hiyouga/geometry3k", "revision": "0" * 40}
    store.make("construct", "p0", pairs, about("pairs", {"problems": problems}, seed=3))
    suite = {"class": "CellsSuite", "temperature": 0.6, "max_new_tokens": 48}
    store.make("coldstart", "c0", cold, about("cold", {"suite": suite}, {"model": "b0", "data": "p0"}, seed=3))
    return folder


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "model"
    export(find_source(store / "coldstart" / "c0"), folder)
    return folder


def test_the_card_has_valid_front_matter_and_says_where_the_model_comes_from(exported):
    card = ModelCard.load(exported / "README.md")
    assert card.data.base_model == "specs_lab/tiny-0"
    assert card.data.datasets == ["hiyouga/geometry3k"]
    assert card.data.license == "apache-2.0"
    assert {"specs_lab", "coldstart", "construct"} <= set(card.data.tags)
    assert metadata_load(exported / "README.md")["library_name"] == "transformers"
    for said in ("| cold | coldstart | model: base, data: pairs | `c0` |", "| pairs | construct | - | `p0` |", " 3 |"):
        assert said in card.text
    assert "| cold | 1,234 | 0 | 5e+06 | 2.5 |" in card.text
    digest = facts_of_file(exported, "pairs")["files"]["pairs.parquet"]
    assert f"| pairs | `pairs.parquet` | 12 | `{digest}` |" in card.text
    for how in ("AutoModelForImageTextToText", "vllm serve", "SFTTrainer"):
        assert how in card.text


def facts_of_file(exported: Path, stage: str) -> dict:
    stages = json.loads((exported / "lineage.json").read_text())["stages"]
    return next(one for one in stages if one["name"] == stage)


def test_a_teacher_is_no_base_and_a_benchmark_no_training_data():
    def stage(key: str, options: dict, **inputs: str) -> StageFacts:
        return StageFacts(name=key, kind="base", key=key, inputs=inputs, options=options, folder=Path())

    base, teacher = (stage(name, {"model": {"class": "HubModel", "repo": f"a/{name}"}}) for name in ("base", "teacher"))
    pairs = stage("pairs", {"problems": {"sources": [{"repo": "a/geo"}, {"repo": "a/math"}]}}, teacher="teacher")
    cold = stage("cold", {"suite": {"repo": "a/benchmark"}, "coldstart": {}}, model="base", data="pairs")
    final = stage("final", {"problems": {"repo": "a/geo"}}, model="cold")
    stages = [teacher, pairs, base, cold, final]
    assert base_models(stages) == ["a/base"]
    assert data_sets(stages) == ["a/geo", "a/math"]


def test_nothing_that_is_written_names_a_place_on_this_machine(exported, store):
    texts = [path.read_text() for path in exported.iterdir() if path.suffix != ".safetensors"]
    for place in (str(store), str(CHECKPOINTS), "/home", "somebody", str(Path.home())):
        assert not any(place in text for text in texts)
    assert facts_of_file(exported, "base")["options"]["model"]["note"] == "tiny"


def test_paths_lose_their_folders_and_nothing_else_changes():
    said = {"a": "model.path=/data/me/ckpt x", "b": ["C:\\me\\ckpt", "~/me/ckpt"], "c": "https://a.b/c/d", "d": 1}
    assert without_paths(said) == {"a": "model.path=ckpt x", "b": ["ckpt", "ckpt"], "c": "https://a.b/c/d", "d": 1}
    kept = "<think> a/b </think> and/or 1/2 `key` ../here ./there"
    assert without_paths(kept) == kept


def test_the_folder_holds_what_others_look_for_under_stock_names(exported):
    names = {path.name for path in exported.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "lineage.json"} <= names
    for name in ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        assert json.loads((exported / name).read_text())["processor_class"] == "Qwen2_5_VLProcessor"
    assert (exported / "chat_template.jinja").read_text() == (
        CHECKPOINTS / "tiny-0" / "chat_template.jinja"
    ).read_text()
    assert not any("adapter" in name for name in names)
    settings = json.loads((exported / "generation_config.json").read_text())
    vlm = VLM.load(exported)
    assert settings["eos_token_id"] == vlm.end_id
    assert (settings["temperature"], settings["top_k"], settings["max_new_tokens"]) == (0.6, 0, 48)


def test_who_may_read_the_configuration_may_read_the_weights(exported):
    modes = {name: (exported / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert modes["model.safetensors"] == modes["config.json"]


def test_an_adapter_is_merged_and_computes_what_it_did(store, exported, toy_problems):
    def logprobs(vlm: VLM) -> torch.Tensor:
        from specs_lab.models.prompts import Row

        prompts = vlm.encode_prompts(
            [p.question for p in toy_problems], [p.images for p in toy_problems], list("abcde")
        )
        rows = [Row(p, c) for p, c in zip(prompts, vlm.encode_completions(["some text"] * 5), strict=True)]
        with vlm.inference():
            return vlm.logprobs(rows).logprobs

    ours, theirs = logprobs(merged_vlm(store / "coldstart" / "c0", store)), logprobs(VLM.load(exported))
    base = logprobs(VLM.load(store / "base" / "b0" / MODEL))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-6)
    assert (ours - base).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_stored_as_asked(store, tmp_path, dtype):
    export(find_source(store / "coldstart" / "c0"), tmp_path / "model", dtype=dtype)
    kinds = {tensor.dtype for tensor in load_file(tmp_path / "model" / "model.safetensors").values()}
    assert kinds == {getattr(torch, dtype)}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == dtype


def test_by_default_weights_are_stored_as_they_were(store, tmp_path):
    export(find_source(store / "base" / "b0"), tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in load_file(CHECKPOINTS / "tiny-0" / "model.safetensors").items():
        assert stored[name].equal(tensor)
        assert stored[name].dtype == tensor.dtype


def test_the_pixel_budget_that_it_was_trained_under_goes_along(tmp_path):
    def build(to: Path) -> None:
        shutil.copytree(CHECKPOINTS / "tiny-0", to / MODEL)
        ModelSetup(min_pixels=1024, max_pixels=16384).write(to)

    folder, _ = Store(tmp_path / "store").make("base", "b1", build, {"name": "base"})
    export(find_source(folder), tmp_path / "model")
    size = json.loads((tmp_path / "model" / "preprocessor_config.json").read_text())["size"]
    assert size == {"shortest_edge": 1024, "longest_edge": 16384}


def test_a_model_of_an_earlier_version_is_refused(tmp_path):
    folder, _ = Store(tmp_path / "store").make("base", "b1", lambda to: (to / MODEL).mkdir(), {"name": "base"})
    with pytest.raises(UserError, match="an earlier version of specs_lab made it"):
        export(find_source(folder), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_transformers_alone_says_the_same(exported, toy_problems, tmp_path):
    asked = []
    for problem in toy_problems:
        problem.image.save(tmp_path / f"{len(asked)}.png")
        asked.append((problem.question, str(tmp_path / f"{len(asked)}.png")))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(exported), json.dumps(asked)],
        **{"capture_output": True, "text": True, "timeout": 300, "env": environment, "check": False},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    vlm = VLM.load(exported)
    names = list("abcde")
    prompts = vlm.encode_prompts([text for text, _ in asked], [p.images for p in toy_problems], names)
    said = generate(vlm, prompts, [[name] for name in names], Sampling(temperature=0.0, max_new_tokens=48))
    assert json.loads(done.stdout.splitlines()[-1]) == [vlm.decode(one.token_ids) for (one,) in said]
    assert len(set(json.loads(done.stdout.splitlines()[-1]))) > 1


def test_nothing_is_overwritten_and_nothing_half_done_is_left(store, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    source = find_source(store / "base" / "b0")
    with pytest.raises(UserError, match="is not empty"):
        export(source, tmp_path / "full")
    with pytest.raises(UserError, match="exists already"):
        export(source, tmp_path / "full" / "mine")

    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("specs_lab.interop.weights.save_processor", fails)
    with pytest.raises(OSError, match="no space"):
        export(source, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / "mine").read_text() == "kept"


def test_an_empty_folder_is_filled(store, tmp_path):
    (tmp_path / "model").mkdir()
    export(find_source(store / "base" / "b0"), tmp_path / "model")
    assert (tmp_path / "model" / "config.json").is_file()


def test_a_model_with_an_adapter_is_no_plain_folder(toy_vlm, tmp_path):
    LoraAdapter().attach(toy_vlm, seed=0)
    with pytest.raises(ValueError, match="merge it first"):
        write_folder(toy_vlm, tmp_path, dtype="float32", sampling={})


def _stage(options: dict) -> StageFacts:
    return StageFacts(name="s", kind="rl", key="k", options=options, folder=Path())


@pytest.mark.parametrize(
    ("stages", "settings"),
    [
        ([], {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}),
        ([{"suite": {"temperature": 0.0, "max_new_tokens": 9}}], {"do_sample": False, "max_new_tokens": 9}),
        (
            [{"suite": {"temperature": 0.5}}, {"rl": {"temperature": 0.9, "top_p": 0.8}}],
            {"do_sample": True, "temperature": 0.5, "top_p": 0.8, "top_k": 0},
        ),
    ],
)
def test_generation_settings_are_those_it_was_measured_under(stages, settings):
    assert sampling_of([_stage(options) for options in stages]) == settings


# -- what is exported --------------------------------------------------------------------------------------------------


def _job(folder: Path, store: Path, arm: str, seed: int, stages: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    done = {
        name: {"kind": place.split("/")[0], "key": place.split("/")[1], "folder": str(store / place)}
        | {"cached": False, "seconds": 1.0}
        for name, place in stages.items()
    }
    record = {"arm": arm, "seed": seed, "status": "completed", "error": None, "stages": done}
    (folder / "job.json").write_text(json.dumps(record))
    return folder


STAGES = {"base": "base/b0", "pairs": "construct/p0", "cold": "coldstart/c0"}


def test_of_a_job_it_is_the_last_stage_that_made_a_model_or_the_one_named(store, tmp_path):
    job = _job(tmp_path / "job", store, "sft", 0, STAGES)
    assert find_source(job) == Source(store / "coldstart" / "c0", "sft cold", (job,))
    assert find_source(job, "base").artifact == store / "base" / "b0"
    with pytest.raises(UserError, match="known: base, cold"):
        find_source(job, "pairs")


def test_of_a_failed_job_no_earlier_model_is_taken_for_its_last(store, tmp_path):
    job = _job(tmp_path / "job", store, "sft", 0, STAGES)
    record = json.loads((job / "job.json").read_text())
    (job / "job.json").write_text(json.dumps({**record, "status": "failed", "error": "final: no room"}))
    with pytest.raises(UserError, match=r"did not run to its end \(final: no room\)[^$]*--stage: base, cold"):
        find_source(job)
    assert find_source(job, "cold").artifact == store / "coldstart" / "c0"


def test_of_a_sweep_one_job_is_named(store, tmp_path):
    one, two = (_job(tmp_path / f"sft-{seed}", store, "sft", seed, STAGES) for seed in range(2))
    _job(tmp_path / "dpo-0", store, "dpo", 0, STAGES)
    with pytest.raises(UserError, match="3 jobs could be meant"):
        find_source(tmp_path)
    with pytest.raises(UserError, match="2 jobs could be meant"):
        find_source(tmp_path, job="sft")
    with pytest.raises(UserError, match="there is no 'grpo'"):
        find_source(tmp_path, job="grpo")
    assert find_source(tmp_path, job="sft-1").jobs == (one, two)
    assert find_source(tmp_path, job="dpo").name == "dpo cold"


def test_what_cannot_be_exported_is_said(store, tmp_path):
    with pytest.raises(UserError, match="no job and no finished stage"):
        find_source(tmp_path)
    with pytest.raises(UserError, match="which makes no model"):
        find_source(store / "construct" / "p0")
    with pytest.raises(UserError, match="is a finished stage itself"):
        find_source(store / "base" / "b0", "cold")
    with pytest.raises(UserError, match="no stage of it made a model"):
        find_source(_job(tmp_path / "job", store, "sft", 0, {"pairs": "construct/p0"}))
    with pytest.raises(UserError, match="the artifact of stage cold is gone"):
        find_source(_job(tmp_path / "gone", tmp_path, "sft", 0, {"cold": "coldstart/c0"}))


def test_a_lineage_with_a_gap_or_a_changed_file_is_refused(store, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    assert [facts.name for facts in lineage_of(copy / "coldstart" / "c0")] == ["base", "pairs", "cold"]
    with (copy / "base" / "b0" / MODEL / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(UserError, match="is not as it was made"):
        export(find_source(copy / "coldstart" / "c0"), tmp_path / "model")
    shutil.rmtree(copy / "base")
    with pytest.raises(UserError, match=r"cold\.model, b0, is not in the store any more"):
        export(find_source(copy / "coldstart" / "c0"), tmp_path / "model")
    (copy / "coldstart" / "c0" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="none of a stage"):
        facts_of(copy / "coldstart" / "c0")


def test_the_command_exports_and_says_what_is_wrong(store, tmp_path, capsys):
    command.main([str(store / "base" / "b0"), "--to", str(tmp_path / "model"), "--dtype", "float32"])
    assert capsys.readouterr().out == f"{tmp_path / 'model'}: base b0\n"
    with pytest.raises(SystemExit, match="2"):
        command.main([str(store / "base" / "b0"), "--to", str(tmp_path / "model")])
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.e2e
def test_a_real_run_is_exported_with_its_results(tmp_path):
    environment = {**os.environ, "SPECS_LAB_CACHE": str(tmp_path / "cache")}
    study = [
        *("recipe=cold_only", "model.size=tiny", "coldstart=sft", "coldstart.steps=2", "coldstart.eval_every=2"),
        *("data=gold", "data.rejected_form=none", "data.pairs=4", "suite.n=6", "adapter=lora", "logger=none"),
        "hydra.run.dir=job",
    ]
    for arguments in (study, ["export", "job", "--to", "model", "--stage", "cold"]):
        done = subprocess.run(
            [sys.executable, "-m", "specs_lab.run", *arguments],
            **{"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 600},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
    text = (tmp_path / "model" / "README.md").read_text()
    assert "**Generalization Factor and accuracy after the cold start**" in text
    assert "| pairs | `pairs.parquet` | 4 |" in text
    assert str(tmp_path) not in text
    assert VLM.load(tmp_path / "model").num_parameters > 0
