"""What a model was made from: the stages before it, from their manifests, without any path of the machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.stages.store import read_manifest

PAIRS = "pairs.parquet"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_PATH = re.compile(r"(?<![\w:/.<~])(?:[A-Za-z]:[\\/]|~?/)(?:[^\s/\\|`'\",;()]+[\\/])+(?=[^\s/\\|`'\",;()]*)")


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """One stage of a lineage.

    Attributes:
        name: Its name in the recipe that made it.
        kind: Its stage kind.
        key: The key of its artifact.
        inputs: {input name: key of the artifact}.
        options: Its options by role, as its manifest has them.
        seed: The study's seed; None if the stage does not depend on it.
        versions: What it ran on.
        made_at: When, UTC.
        files: {relative path: SHA-256} of its files.
        folder: The artifact.
    """

    name: str
    kind: str
    key: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    made_at: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    folder: Path

    @property
    def digest(self) -> str:
        """A hash of the options: the same settings give the same one."""
        text = json.dumps(self.options, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """The facts as plain data, for another machine: paths are cut down to names."""
        names = ("name", "kind", "key", "inputs", "options", "seed", "versions", "made_at", "files")
        return {"options_digest": self.digest, **{name: without_paths(getattr(self, name)) for name in names}}


def facts_of(artifact: Path) -> StageFacts:
    """What an artifact's manifest says.

    Raises:
        UserError: If it has none that can be read.
    """
    fix = "give the folder of a finished stage, or of a job whose stages are still in the store"
    try:
        manifest = read_manifest(artifact)
        known = {name: manifest[name] for name in ("kind", "key", "files")}
    except OSError as error:
        raise UserError([Fault(str(artifact), "has no manifest.json", fix)]) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError([Fault(str(artifact), "has a manifest.json that is none of a stage", fix)]) from error
    return StageFacts(
        **known,
        name=str(manifest.get("name", known["kind"])),
        inputs=manifest.get("inputs", {}),
        options=manifest.get("options", {}),
        seed=manifest.get("seed"),
        versions=manifest.get("versions", {}),
        made_at=str(manifest.get("made_at", "")),
        folder=artifact,
    )


def lineage_of(artifact: Path) -> list[StageFacts]:
    """The stages that an artifact was made from, and itself, each after those that it reads.

    Args:
        artifact: A folder in a store; the others are looked for beside it.

    Raises:
        UserError: If one of them is gone.
    """
    found: dict[str, StageFacts] = {}

    def visit(facts: StageFacts) -> None:
        for name, key in facts.inputs.items():
            if key not in found:
                visit(facts_of(_beside(artifact, key, f"{facts.name}.{name}")))
        found.setdefault(facts.key, facts)

    visit(facts_of(artifact))
    return list(found.values())


def _beside(artifact: Path, key: str, what: str) -> Path:
    cache = artifact.resolve().parent.parent
    for folder in sorted(cache.glob(f"*/{key}")):
        if (folder / "manifest.json").is_file():
            return folder
    fix = "export from the store that made the model, or run the study again"
    raise UserError([Fault(str(artifact), f"its input {what}, {key}, is not in the store any more", fix)])


def trained_from(stages: Sequence[StageFacts]) -> StageFacts:
    """The stage whose weights the last one's go back to; other models of a lineage only made data."""
    by_key = {stage.key: stage for stage in stages}
    stage = stages[-1]
    while "model" in stage.inputs:
        stage = by_key[stage.inputs["model"]]
    return stage


def base_models(stages: Sequence[StageFacts]) -> list[str]:
    """The repository of a hub that the weights come from; empty if it is none."""
    return list(dict.fromkeys(_repos(trained_from(stages).options.get("model"))))


def data_sets(stages: Sequence[StageFacts]) -> list[str]:
    """The repositories of a hub that problems and data were taken from for training, each once."""
    read = (stage.options.get(role) for stage in stages for role in ("problems", "data"))
    return list(dict.fromkeys(name for options in read for name in _repos(options)))


def _repos(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        repo = value.get("repo")
        if isinstance(repo, str) and _REPO.fullmatch(repo):
            yield repo
        for item in value.values():
            yield from _repos(item)
    elif isinstance(value, list):
        for item in value:
            yield from _repos(item)


def without_paths(value: Any) -> Any:
    """Plain data in which every absolute path has lost its folders: they say nothing elsewhere, and something about us.

    URLs are left as they are.
    """
    if isinstance(value, str):
        return _PATH.sub("", value)
    if isinstance(value, Mapping):
        return {name: without_paths(item) for name, item in value.items()}
    return [without_paths(item) for item in value] if isinstance(value, list | tuple) else value
