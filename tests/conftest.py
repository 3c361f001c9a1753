"""What holds for every test: offline, on one thread, with a store of its own."""

import os

# Before anything imports torch, matplotlib, wandb or transformers; child processes inherit it.
os.environ.update(
    HF_HUB_OFFLINE="1",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="offline",
    WANDB_SILENT="true",
)

from pathlib import Path

import pytest
from hypothesis import settings

from specs_lab.core.hub import commit_of

# The same examples on every run, and no failures because the machine is busy.
settings.register_profile("specs_lab", deadline=None, derandomize=True)
settings.load_profile("specs_lab")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Points the store of finished stages, and W&B's files, at the test's temporary folder."""
    commit_of.cache_clear()  # what a branch means is looked up once in a process
    store = tmp_path / "store"
    monkeypatch.setenv("SPECS_LAB_CACHE", str(store))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return store


@pytest.fixture(scope="session")
def fake_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkpoint, for what never loads the model; not to be changed."""
    folder = tmp_path_factory.mktemp("model")
    for name in ("config.json", "tokenizer.json", "processor_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(scope="session")
def fake_model(fake_checkpoint: Path) -> list[str]:
    """Overrides that choose it."""
    return ["model=folder", f"model.path={fake_checkpoint}"]


@pytest.fixture(scope="session")
def toy_weights():
    """A randomly initialised `tiny` model with a tokenizer of its own; built once."""
    from specs_lab.models.embedded import SIZES, build, make_processor, train_tokenizer
    from specs_lab.pretraining.corpus import corpus_texts
    from specs_lab.pretraining.options.pretrain import CorpusOptions

    tokenizer = train_tokenizer(corpus_texts(CorpusOptions(), seed=0, count=300))
    return build(SIZES["tiny"], tokenizer, seed=0), make_processor(tokenizer)


@pytest.fixture
def toy_vlm(toy_weights):
    """A `tiny` VLM with random weights that a test may train."""
    import copy

    from specs_lab.models.vlm import VLM

    model, processor = toy_weights
    return VLM(copy.deepcopy(model).eval(), processor)


@pytest.fixture(scope="session")
def toy_problems():
    """A few problems of different lengths."""
    from specs_lab.problems.base import make_problem

    return [make_problem(name, seed=0, index=i) for i, name in enumerate(("count", "arrow", "digits", "add", "clock"))]


@pytest.fixture
def toy_prompts(toy_vlm, toy_problems):
    """Their prompts, tokenised for `toy_vlm`."""
    return toy_vlm.encode_prompts(
        [p.question for p in toy_problems], [p.images for p in toy_problems], [p.id for p in toy_problems]
    )


@pytest.fixture
def toy_rows(toy_vlm, toy_prompts, toy_problems):
    """Prompts with correct responses of varied length."""
    from specs_lab.models.prompts import Row

    texts = [f"<think> {p.reasoning} </think> <answer> {p.answer} </answer>" for p in toy_problems]
    return [Row(p, c) for p, c in zip(toy_prompts, toy_vlm.encode_completions(texts), strict=True)]
