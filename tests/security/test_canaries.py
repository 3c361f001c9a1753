"""Code that others put into data and checkpoints is not run: each file would leave a mark if it were."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.data.files import read_user_pairs
from specs_lab.models.processing import load_processor
from specs_lab.models.sources.embedded import CHECKPOINTS, FolderModel
from specs_lab.models.sources.hub import HubModel
from specs_lab.models.vlm import VLM
from specs_lab.problems.tables import TableRef, iterate
from specs_lab.stages.base import checkpoint_files

TINY = CHECKPOINTS / "tiny-0"


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "MARK"


@pytest.fixture
def code(mark: Path) -> str:
    """A module that leaves the mark when it is imported."""
    return f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the smallest checkpoint that is shipped."""
    return shutil.copytree(TINY, tmp_path / "model")


def change(file: Path, **values: Any) -> None:
    found = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**found, **values}))


def poisoned(path: Path, mark: Path) -> None:
    torch.save({"weight": torch.zeros(1), "evil": Canary(mark)}, path)


def test_the_canary_sings(tmp_path: Path, mark: Path):
    poisoned(tmp_path / "x.bin", mark)
    torch.load(tmp_path / "x.bin", weights_only=False)
    assert mark.exists()


def test_a_checkpoint_that_is_only_a_pickle_is_refused(folder: Path, mark: Path):
    (folder / "model.safetensors").unlink()
    poisoned(folder / "pytorch_model.bin", mark)
    with pytest.raises(InvalidOption, match="safetensors"):
        FolderModel(path=str(folder))
    with pytest.raises(UserError, match="safetensors"):
        _ = HubModel(repo="a/b", path=str(folder)).folder
    with pytest.raises(OSError, match="safetensors"):
        VLM.load(folder)
    assert not mark.exists()


def test_beside_safetensors_a_pickle_is_neither_read_nor_taken_over(folder: Path, mark: Path):
    for name in ("pytorch_model.bin", "optimizer.pt", "adapter_model.bin", "training_args.bin"):
        poisoned(folder / name, mark)
    assert {path.suffix for path in checkpoint_files(folder)} <= {".safetensors", ".json", ".jinja", ".md", ".txt"}
    loaded = VLM.load(folder).model.state_dict()
    stored = load_file(folder / "model.safetensors")
    name = next(name for name in stored if name.endswith("down_proj.weight"))
    assert any(torch.equal(stored[name].float(), tensor) for tensor in loaded.values())
    assert not mark.exists()


def test_an_index_names_no_file_elsewhere(folder: Path, tmp_path: Path):
    (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    change(folder / "model.safetensors.index.json", weight_map={"a": "../other.safetensors", "b": "/etc/passwd"})
    assert not [path for path in checkpoint_files(folder) if path.suffix == ".safetensors"]


def test_an_adapter_beside_a_checkpoint_that_is_a_pickle_is_not_read(folder: Path, mark: Path):
    change(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder), r=1)
    poisoned(folder / "adapter_model.bin", mark)
    with contextlib.suppress(OSError, ValueError, UserError):  # refused is as good as left alone
        VLM.load(folder)
    assert not mark.exists()


def test_code_of_a_known_model_is_not_run(folder: Path, mark: Path, code: str):
    names = {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil", "AutoProcessor": "evil.Evil"}
    (folder / "evil.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    change(folder / "config.json", auto_map=names)
    change(folder / "generation_config.json", custom_generate="evil")
    for file in folder.glob("*processor_config.json"):
        change(file, auto_map={**names, "AutoImageProcessor": "evil.Evil"})
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    vlm = VLM.load(folder)
    assert type(vlm.core).__module__.startswith("transformers.")
    assert not mark.exists()


def test_a_model_that_needs_code_of_its_own_is_refused(folder: Path, mark: Path, code: str):
    (folder / "evil.py").write_text(code)
    names = {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"}
    change(folder / "config.json", auto_map=names, model_type="evil_model")
    with pytest.raises(UserError, match="code that it brings is not run"):
        VLM.load(folder)
    load_processor(folder)  # by stock classes
    assert not mark.exists()


def test_attention_from_the_hub_is_refused(folder: Path):
    text = json.loads((folder / "config.json").read_text()).get("text_config", {})
    change(folder / "config.json", text_config={**text, "_attn_implementation": "evil/kernel"})
    with pytest.raises(UserError, match="code of the hub"):
        VLM.load(folder)


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__ }}"],
)
def test_a_chat_template_reaches_nothing_but_messages(folder: Path, template: str):
    for file in folder.glob("*.jinja"):
        file.write_text(template)
    processor = load_processor(folder)
    with pytest.raises(Exception, match=r"unsafe|undefined|has no") as caught:
        processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "a"}]}])
    assert type(caught.value).__module__.startswith("jinja2")


@pytest.mark.parametrize("name", ["train.pkl", "train.pt", "train.parquet", "train.jsonl", "train.json", "train.arrow"])
def test_a_pickle_among_data_is_not_read(tmp_path: Path, mark: Path, name: str):
    data = tmp_path / "data"
    data.mkdir()
    poisoned(data / name, mark)
    reads: list[Callable[[], Any]] = [
        lambda: list(iterate(TableRef(path=str(data)))),
        lambda: list(iterate(TableRef(path=str(data / name)))),
        lambda: read_user_pairs(data / name),
    ]
    for read in reads:
        with pytest.raises(UserError):
            read()
    assert not mark.exists()


def test_a_script_beside_data_is_not_run(tmp_path: Path, mark: Path, code: str):
    data = tmp_path / "data"
    data.mkdir()
    (data / "data.py").write_text(code)
    (data / "train.jsonl").write_text('{"question": "a"}\n')
    with pytest.raises(UserError, match="scripts"):
        list(iterate(TableRef(path=str(data))))
    assert not mark.exists()


def test_a_type_of_columns_that_unpickles_is_not_known(tmp_path: Path, mark: Path):
    import pyarrow
    from pyarrow import parquet

    poison = Canary(mark).__reduce__()
    about = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": f"cposix\nsystem\n{poison}"}
    field = pyarrow.field("prompt", pyarrow.string(), metadata=about)
    table = pyarrow.table([["a"], ["b"]], schema=pyarrow.schema([field, pyarrow.field("chosen", pyarrow.string())]))
    parquet.write_table(table, tmp_path / "a.parquet")
    pairs, _ = read_user_pairs(tmp_path / "a.parquet")
    assert len(pairs) == 1
    assert not mark.exists()


def test_a_training_checkpoint_that_is_a_pickle_is_not_run(tmp_path: Path, mark: Path):
    from specs_lab.training.fit import fit
    from specs_lab.training.options.trainer import TrainerOptions

    poisoned(tmp_path / "x.ckpt", mark)
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        fit(None, [], [], trainer=TrainerOptions(), resume=tmp_path / "x.ckpt")  # type: ignore[arg-type]
    assert not mark.exists()


def test_an_adapter_of_a_stage_is_safetensors_only(tmp_path: Path, mark: Path, toy_vlm: Any):
    from specs_lab.models.adapting import merge_adapter
    from specs_lab.models.holding import Holding

    (tmp_path / "a").mkdir()
    change(tmp_path / "a" / "adapter_config.json", peft_type="LORA", r=2, target_modules=["q_proj"])
    poisoned(tmp_path / "a" / "adapter_model.bin", mark)
    with pytest.raises((OSError, UserError)):
        merge_adapter(toy_vlm, tmp_path / "a", Holding())
    assert not mark.exists()
