"""What a stage cannot do with its options, or with what its inputs make; see ``StageKind.unfit``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from specs_lab.core.errors import Fault, suggest
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.rewards.format import SECTIONS

_WORDINGS = {"id": "instructions", "ood": "ood_instructions", "alternative": "alternative_instructions"}


def _without_rejected(options: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """A fault if a loss on pairs would be given data without rejected sides."""
    data = sources["data"].get("data")
    needs = getattr(options["coldstart"], "needs_rejected", False)
    if not needs or data is None or data.makes_rejected:
        return []
    what = "the loss compares two sides, and the data have no rejected one"
    fix = "choose coldstart=sft, or data with one, e.g. data.rejected_form=polluted"
    return [Fault("coldstart", what, fix)]


def unwritable(options: Mapping[str, Any], _: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Faults of cells that ask for a format which constructions can only read: they write sections in tags."""
    mixture = getattr(options["data"], "mixture", ())
    asked = {
        (cell, name)
        for source in _sources(options["problems"])
        for cell in mixture
        if cell in source.cells
        for name in getattr(source, _WORDINGS[source.cells[cell].instruction], ())
    }
    fix = "leave the cell out of data.mixture, or give it other wordings"
    return [
        Fault(
            "data.mixture",
            f"cell '{cell}' asks for '{INSTRUCTIONS[name].format}' ('{name}'), which is not written",
            fix,
        )
        for cell, name in sorted(asked)
        if INSTRUCTIONS[name].format not in SECTIONS
    ]


def _sources(problems: Any) -> Iterator[Any]:
    """A source of problems, or what it is made up of."""
    parts = getattr(problems, "parts", None)
    if parts is None:
        yield problems
    else:
        for part in parts.values():
            yield from _sources(part)


def _unknown_buckets(options: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Faults of buckets that the stage which makes the tasks does not fill."""
    if "tasks" not in sources:
        what = "the stage is given no tasks, so there are no buckets"
        return [Fault("rl.buckets", what, "leave it out, or give the stage the input `tasks`")] * bool(
            options["rl"].buckets
        )
    made = sources["tasks"]
    known = [*getattr(made.get("select"), "buckets", ()), *getattr(made.get("data"), "buckets", ())]
    unknown = [name for name in options["rl"].buckets if name not in known]
    return [Fault("rl.buckets", f"there is no bucket '{name}'", suggest(name, known)) for name in unknown]


def _frozen_tower(options: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """A fault if adapters are to go on the vision tower of a base model that freezes it.

    Of a model that other stages made from the base this is found when it is loaded.
    """
    wanted = getattr(options["adapter"], "include_vision", False)
    if not wanted or not getattr(sources["model"].get("model"), "freeze_vision", False):
        return []
    what = "the vision tower is to have adapters, and the model's options freeze it"
    return [Fault("adapter.include_vision", what, "set model.freeze_vision=false")]


def unfit_for_rl(options: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Faults of RL."""
    engine = options["rollout"].misfits(options) if "rollout" in options else []
    return [*_unknown_buckets(options, sources), *_frozen_tower(options, sources), *engine]


def unfit_for_cold_start(options: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Faults of a cold start."""
    return [*_without_rejected(options, sources), *_frozen_tower(options, sources)]
