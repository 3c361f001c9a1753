"""Models that are an adapter on another artifact's model, and how the chain of them becomes one model.

    <artifact>/adapter/     the adapter alone, in PEFT's format
    <artifact>/base.json    what it was trained on: an artifact of the same store, and how its weights were held
    <artifact>/setup.json   the model's settings

The artifact at the end of a chain holds a whole model, ``model/``. A stage reads its input merged, so each adapter of a
chain was trained on the merged model that the ones before it make.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault
from specs_lab.models.adapters.base import Adapter
from specs_lab.models.holding import Holding, set_types
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM
from specs_lab.stages.store import DamagedArtifact, verify

MODEL = "model"
"""Name of the folder, inside an artifact, that holds a whole model."""
ADAPTER = "adapter"
BASE = "base.json"


@dataclass(frozen=True)
class Link:
    """An artifact that holds an adapter.

    Attributes:
        artifact: Its folder.
        holding: How the weights below the adapter were held in training.
    """

    artifact: Path
    holding: Holding


def is_adapter(artifact: Path) -> bool:
    """Whether an artifact's model is an adapter on another one's."""
    return (artifact / BASE).exists()


def write_link(artifact: Path, base: Path, holding: Holding) -> None:
    """Writes what an adapter was trained on; ``base`` is an artifact of the same store."""
    record = {"kind": base.parent.name, "key": base.name, "holding": asdict(holding)}
    (artifact / BASE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def chain(artifact: Path, store_root: Path) -> tuple[Path, list[Link]]:
    """The artifact with the whole model that a model starts from, and the adapters on it, the first trained first.

    Raises:
        UserError: If an artifact of the chain is missing, or not as it was made.
    """
    links: list[Link] = []
    while is_adapter(artifact):
        verify(artifact)
        record = json.loads((artifact / BASE).read_text(encoding="utf-8"))
        links.append(Link(artifact, Holding(**record["holding"])))
        base = store_root / record["kind"] / record["key"]
        if not base.is_dir():
            name = f"{record['kind']}/{record['key']}"
            what = f"the model that this adapter was trained on, {name}, is not in {store_root}"
            fault = Fault(str(artifact / BASE), what, "run the study that makes it again")
            raise DamagedArtifact(base, [fault])
        artifact = base
    if links:
        verify(artifact)
    return artifact, links[::-1]


def merged_vlm(artifact: Path, store_root: Path, *, adapter: Adapter | None = None, **options: Any) -> VLM:
    """The model of an artifact as one plain model, on the CPU, its adapters merged in float32.

    Args:
        artifact: Holds a model or an adapter.
        store_root: The folder of the store, where the bases of adapters are looked for.
        adapter: What is to be trained: decides the types of numbers. Without any, all weights have the model's type.
        options: The other arguments of :class:`VLM`.

    Raises:
        UserError: If an artifact of the chain is missing, or not as it was made.
    """
    setup = ModelSetup.read(artifact)
    base, links = chain(artifact, store_root)
    # Weights that will learn, or that something is added to, are read as precisely as they are stored.
    precise = bool(links) or (adapter is not None and adapter.trains_all)
    vlm = VLM.load(base / MODEL, setup=replace(setup, dtype="float32") if precise else setup, **options)
    vlm.setup = setup
    if links:
        from specs_lab.models.adapting import merge_adapter  # imports PEFT

        for link in links:
            merge_adapter(vlm, link.artifact / ADAPTER, link.holding)
    if adapter is None:
        set_types(vlm.core, setup.torch_dtype, setup.torch_dtype)
    return vlm
