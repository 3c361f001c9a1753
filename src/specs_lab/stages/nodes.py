"""Which options a stage reads, and which of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from specs_lab.core.errors import Fault, suggest
from specs_lab.core.options import InvalidOption
from specs_lab.stages.context import Faulty, Study
from specs_lab.stages.kinds import StageKind
from specs_lab.stages.options.recipe import StageSpec


def options_of(study: Study, spec: StageSpec, kind: StageKind) -> dict[str, Any]:
    """The options that a stage reads, by role, with its changes; the stage must be free of :func:`option_faults`."""
    nodes = study.nodes()
    options = {role: nodes[spec.options.get(role, role)] for role in kind.reads}
    changes = {role: spec.changes[role] for role in options if spec.changes.get(role)}
    return options | {role: replace(options[role], **changed) for role, changed in changes.items()}


def option_faults(where: str, spec: StageSpec, kind: StageKind, study: Study) -> Iterator[Fault]:
    """Options that a stage wants and the configuration lacks, and changes that cannot be made."""
    nodes = study.nodes()
    for role in kind.reads:
        node = spec.options.get(role, role)
        if node not in nodes:
            at = f"{where}.options.{role}" if role in spec.options else where
            yield Fault(at, f"there are no options '{node}' in the configuration", suggest(node, nodes))
        elif role in spec.changes and not isinstance(nodes[node], Faulty):
            yield from _change_faults(f"{where}.changes.{role}", nodes[node], spec.changes[role])
    for field_name in ("options", "changes"):
        for role in getattr(spec, field_name):
            if role not in kind.reads:
                what = f"a stage of kind '{kind.name}' reads no options '{role}'"
                yield Fault(f"{where}.{field_name}.{role}", what, suggest(role, kind.reads))


def _change_faults(where: str, option: Any, changes: Mapping[str, Any]) -> Iterator[Fault]:
    known = {field.name: getattr(option, field.name) for field in fields(option)}
    unknown = [name for name in changes if name not in known]
    for name in unknown:
        yield Fault(f"{where}.{name}", "there is no such option", suggest(name, known))
    for name, value in changes.items():
        if name in known and not _alike(value, known[name]):
            what = f"{value!r} is of another type than {known[name]!r}"
            yield Fault(f"{where}.{name}", what, f"give a {type(known[name]).__name__}")
            unknown.append(name)
    if not unknown:
        try:
            replace(option, **changes)
        except InvalidOption as error:
            for fault in error.faults:
                yield Fault(f"{where}.{fault.where}", fault.what, fault.fix)


def _alike(value: Any, known: Any) -> bool:
    """Whether a value may stand where another stands; whole numbers may stand for any number."""
    if known is None or (isinstance(known, float) and isinstance(value, int) and not isinstance(value, bool)):
        return True
    return type(value) is type(known)


def used_inputs(kind: StageKind, options: Mapping[str, Any]) -> Collection[str]:
    """The inputs that a stage reads."""
    return kind.inputs if kind.uses is None else kind.uses(options)


def needed_inputs(kind: StageKind, options: Mapping[str, Any] | None) -> set[str]:
    """The inputs that a recipe must name; without options, those that it must name whatever they are."""
    if options is None:
        return set(kind.inputs) - kind.optional if kind.uses is None else set()
    return set(used_inputs(kind, options)) - kind.optional
