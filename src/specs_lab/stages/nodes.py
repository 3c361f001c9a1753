"""Which options a stage reads, and which of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, get_args, get_origin, get_type_hints

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
    hints = get_type_hints(type(option))
    wrong = [name for name, value in changes.items() if name in known and not _fits(value, hints[name])]
    for name in wrong:
        what = f"{changes[name]!r} is of another type than {known[name]!r}"
        yield Fault(f"{where}.{name}", what, f"give a {getattr(hints[name], '__name__', hints[name])}")
    if not unknown and not wrong:
        try:
            replace(option, **changes)
        except InvalidOption as error:
            for fault in error.faults:
                yield Fault(f"{where}.{fault.where}", fault.what, fault.fix)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, plain data, is of the type of a field; whole numbers may stand for any number."""
    parts = get_args(hint)
    if hint is Any:
        return True
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value)
    if get_origin(hint) is dict:
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(_fits(name, parts[0]) and _fits(item, parts[1]) for name, item in pairs)
    if parts:
        return any(_fits(value, part) for part in parts)
    return type(value) is hint or (hint is float and type(value) is int)


def used_inputs(kind: StageKind, options: Mapping[str, Any]) -> Collection[str]:
    """The inputs that a stage reads."""
    return kind.inputs if kind.uses is None else kind.uses(options)


def needed_inputs(kind: StageKind, options: Mapping[str, Any] | None) -> set[str]:
    """The inputs that a recipe must name; without options, those that it must name whatever they are."""
    if options is None:
        return set(kind.inputs) - kind.optional if kind.uses is None else set()
    return set(used_inputs(kind, options)) - kind.optional
