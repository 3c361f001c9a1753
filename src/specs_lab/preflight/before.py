"""The checks that every run begins with: nothing that reads data or builds a model, and only what is certain stops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.core.progress import Progress
from specs_lab.preflight.device import memory_of
from specs_lab.preflight.findings import Finding
from specs_lab.preflight.needs import Prompts, Shapes, missing_stages, needs
from specs_lab.preflight.room import check_disk, check_memory
from specs_lab.preflight.settings import check_settings
from specs_lab.preflight.versions import check_versions
from specs_lab.stages.context import Study
from specs_lab.stages.graph import PlannedStage


def cheap_checks(study: Study, stages: list[PlannedStage], prompts: Prompts | None = None) -> list[Finding]:
    """Room, versions and settings for the stages that are to be made.

    Args:
        study: The study.
        stages: The stages.
        prompts: How long prompts are, if that has been counted.
    """
    memory, shapes = memory_of(study.trainer), Shapes()
    needed = list(needs(study, stages, memory, shapes, prompts))
    unknown = [Finding(check="memory", level="note", what=what) for what in dict.fromkeys(shapes.unknown)]
    return [
        check_disk(Path(study.paths.cache), needed),
        check_memory(memory, needed, counted=prompts is not None and prompts.counted),
        *unknown,
        *check_versions(study),
        check_settings(study, stages),
    ]


def check_before_run(study: Study, progress: Progress) -> None:
    """Stops a run that cannot end well; says in one line each what may go wrong.

    ``trainer.preflight`` decides: ``strict`` stops at faults, ``warn`` only tells of them, ``off`` looks at nothing. A
    study whose stages are all in the store is not looked at either. Models and data that nobody can name stop it in
    any case: stages cannot be told apart without.

    Raises:
        UserError: With all faults.
    """
    stages = stages_to_make(study)
    how = study.trainer.preflight
    if how == "off" or not stages:
        return
    found = cheap_checks(study, stages)
    again = "`specs-lab doctor` with the same overrides says more, trainer.preflight=warn goes ahead"
    if how == "strict":
        raise_faults([Fault(f"preflight: {f.check}", f.what, f"{f.fix}; {again}") for f in found if f.level == "fault"])
    for finding in found:
        if finding.level in ("warning", "fault"):
            progress.message(f"preflight: {finding.check}: {finding.what}; {finding.fix}")


def stages_to_make(study: Study) -> list[PlannedStage]:
    """The stages of a study that are not in the store.

    Raises:
        UserError: If the study cannot be planned; names every model and dataset that cannot be told apart from others,
            as it is on a hub that cannot be asked.
    """
    try:
        return missing_stages(study)
    except UserError as error:  # planning stops at the first node whose content cannot be told
        raise UserError(list(dict.fromkeys([*error.faults, *_unnamed(study.nodes())]))) from error


def _unnamed(nodes: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults of all options whose content cannot be told, those within mixtures included."""
    for option in nodes.values():
        try:
            if isinstance(parts := getattr(option, "parts", None), Mapping):
                yield from _unnamed(parts)
            elif hasattr(option, "identity"):
                option.identity()
        except UserError as error:
            yield from error.faults
