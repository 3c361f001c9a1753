"""Whether settings that were chosen for the built-in models have been left as they are for a real one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.preflight.findings import Finding
from specs_lab.stages.context import Study
from specs_lab.stages.graph import PlannedStage

_SHORT = 256
"""Tokens: a reasoning of a real model hardly ever ends within fewer, and what is cut off teaches nothing."""
_HIGH = 2e-5
"""Learning rate: the published full fine-tunings of models of 2 B parameters and more stay below."""


def check_settings(study: Study, stages: Sequence[PlannedStage]) -> Finding:
    """A warning that names what stages would do in too few tokens, or at too high a rate."""
    if study.model is None or isinstance(study.model, EmbeddedModel):
        return Finding(check="settings", level="ok", what="they were chosen for the built-in models")
    odd = list(dict.fromkeys(text for stage in stages for text in _odd(stage)))
    if not odd:
        return Finding(check="settings", level="ok", what="lengths and learning rates are those of a real model")
    fix = "add experiment=full/<recipe>, which has those of the paper, or set them"
    return Finding(check="settings", level="warning", what=f"fit the built-in models only: {'; '.join(odd)}", fix=fix)


def _odd(stage: PlannedStage) -> Iterator[str]:
    adapter: Any = stage.options.get("adapter")
    for option in stage.options.values():
        longest = getattr(option, "max_new_tokens", None)
        if isinstance(longest, int) and longest < _SHORT:
            yield f"stage {stage.name} lets responses have {longest} tokens"
        rate = getattr(option, "lr", None)
        if rate is not None and rate > _HIGH and adapter is not None and adapter.trains_all:
            yield f"stage {stage.name} trains all weights at a rate of {rate:g}"
