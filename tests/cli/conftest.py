"""A composer, and a model folder that satisfies the options without holding a model."""

from collections.abc import Iterator

import pytest

from specs_lab.cli.composition import Composer, composer


@pytest.fixture
def known() -> Iterator[Composer]:
    with composer() as made:
        yield made


@pytest.fixture
def model_overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("model")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "processor_config.json"):
        (folder / name).write_text("{}")
    return ["model=folder", f"model.path={folder}"]
