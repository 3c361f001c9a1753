"""Exports a trained model: everything is written beside the target, which appears complete or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from specs_lab.interop.lineage import StageFacts, lineage_of, trained_from
from specs_lab.interop.model_card import CardFacts, model_card
from specs_lab.interop.sources import Source
from specs_lab.interop.targets import appearing
from specs_lab.stages.store import file_hashes, verify

LINEAGE = "lineage.json"


def export(source: Source, folder: Path, *, dtype: str | None = None) -> None:
    """Writes the model of a source, its card and its lineage into a new folder.

    Args:
        source: What to export.
        folder: Where to; must not exist, or be empty.
        dtype: ``float32`` or ``bfloat16``; by default as the weights are stored now.

    Raises:
        UserError: If the folder is not empty, or an artifact is gone or damaged.
    """
    stages = lineage_of(source.artifact)
    verify(source.artifact)
    with appearing(folder) as draft:
        draft.mkdir()
        config, parameters, stored = _write_model(stages, draft, dtype)
        facts = CardFacts(
            title=source.name,
            stages=stages,
            results=_results(source),
            config=config,
            parameters=parameters,
            dtype=stored,
            base=_embedded_name(stages),
            license=_license(stages),
        )
        (draft / "README.md").write_text(model_card(facts), encoding="utf-8")
        lineage = {"stages": [stage.as_json() for stage in stages], "files": file_hashes(draft)}
        (draft / LINEAGE).write_text(json.dumps(lineage, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_model(stages: list[StageFacts], folder: Path, dtype: str | None) -> tuple[dict[str, Any], int, str]:
    """Writes the weights; returns the configuration, the number of parameters and how they are stored."""
    from specs_lab.interop.weights import load_merged, sampling_of, write_folder  # imports transformers

    vlm, stored = load_merged(stages[-1].folder)
    count = vlm.num_parameters
    write_folder(vlm, folder, dtype=dtype or stored, sampling=sampling_of(stages))
    return json.loads((folder / "config.json").read_text(encoding="utf-8")), count, dtype or stored


def _results(source: Source) -> str:
    """The tables of what the jobs of a source measured, with intervals."""
    if not source.jobs:
        return ""
    from specs_lab.tracking.frames import load_sweep  # imports pandas
    from specs_lab.tracking.markdown import table_markdown
    from specs_lab.tracking.report import estimate
    from specs_lab.tracking.scores import SCORE_COLUMNS
    from specs_lab.tracking.tables import factor_table, results_table

    summary = estimate(source.artifact, load_sweep(source.jobs, SCORE_COLUMNS))
    if not summary.readings:
        return ""
    blocks = [table_markdown(table) for table in (results_table(summary), factor_table(summary))]
    if summary.notes:
        blocks.append("\n".join(f"- {note}" for note in summary.notes))
    return "\n\n".join(blocks)


def _embedded_name(stages: list[StageFacts]) -> str | None:
    """What the package's own base model is called; it is on no hub."""
    options = trained_from(stages).options.get("model", {})
    return f"specs_lab/{options['size']}-{options['base_seed']}" if options.get("class") == "EmbeddedModel" else None


def _license(stages: list[StageFacts]) -> str | None:
    """The licence in the front matter of the base model's own card."""
    from huggingface_hub import metadata_load

    card = trained_from(stages).folder / "model" / "README.md"
    found = (metadata_load(card) or {}).get("license") if card.is_file() else None
    return found if isinstance(found, str) else None
