"""Finds everything that is wrong with a command line before any work starts.

Hydra stops at the first fault, and says it in terms of its own. Here each override is composed on top of those that
are fine, so that every fault is found, also in each job of a sweep; then every node is turned into its options, which
check themselves, and the stages are checked against them.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from specs_lab.cli.composition import CONFIG_NAME, Composer, CompositionError, composer
from specs_lab.cli.explanations import composition_fault, is_choice, node_of, syntax_fault
from specs_lab.cli.idle import idle_faults
from specs_lab.cli.launchers.settings import launcher_faults
from specs_lab.cli.search_path import SEARCH_PATH, search_path_faults
from specs_lab.cli.secrecy import argument_faults
from specs_lab.cli.values import value_faults
from specs_lab.core.errors import Fault, raise_faults

_NAMED_JOBS = 3


def check_command_line(arguments: Sequence[str]) -> None:
    """Checks a command line as Hydra would read it; one that only asks for help is left to Hydra.

    Args:
        arguments: The arguments after the program's name.

    Raises:
        UserError: With all faults.
        SystemExit: If a flag is unknown.
    """
    raise_faults(argument_faults(arguments))  # first of all: other faults quote what was typed
    flags = get_args_parser().parse_args(list(arguments))
    raise_faults(_flag_faults(flags))
    if flags.help or flags.hydra_help or flags.info or flags.shell_completion:
        return
    with composer(flags.config_name or CONFIG_NAME, Path(flags.config_dir) if flags.config_dir else None) as known:
        raise_faults(find_faults(known, flags.overrides, sweep=flags.multirun, check_values=flags.cfg is None))


def _flag_faults(flags: Namespace) -> list[Fault]:
    faults = []
    if flags.experimental_rerun is not None:
        what = "is not supported: it would run code from a pickle"
        faults.append(Fault("--experimental-rerun", what, "give the overrides in .hydra/overrides.yaml again"))
    if flags.config_path is not None:
        what = "would replace the whole configuration"
        faults.append(Fault("--config-path", what, "add a folder of YAML files by --config-dir=<folder>"))
    if flags.config_dir is not None and not Path(flags.config_dir).is_dir():
        faults.append(Fault("--config-dir", f"there is no folder '{flags.config_dir}'", "give the path of a folder"))
    return faults


def find_faults(known: Composer, overrides: Sequence[str], *, sweep: bool, check_values: bool = True) -> list[Fault]:
    """All faults of a run, or of the jobs of a sweep.

    Args:
        known: Composes configurations.
        overrides: The overrides, as typed.
        sweep: Whether several values of an override mean several jobs.
        check_values: Whether to look into the values too, not only whether the configuration can be composed.
    """
    secrets = argument_faults(overrides)
    if secrets:
        return secrets
    line = _Line(known, overrides, sweep)
    if not line.sweep:
        return [*line.faults, *job_faults(line.known, line.fixed, check_values=check_values)]
    jobs = line.jobs()
    found: dict[Fault, list[int]] = {}
    for number, job in enumerate(jobs):
        for fault in job_faults(line.known, [*line.hydra, *job], check_values=check_values):
            found.setdefault(fault, []).append(number)
    return [*line.faults, *(_in_jobs(fault, numbers, jobs) for fault, numbers in found.items())]


@dataclass
class _Line:
    """The overrides of a command line, parsed.

    Attributes:
        known: Composes configurations; under the line's search path, if it names one.
        overrides: The overrides, as typed.
        sweep: Whether this is a sweep; also if the configuration says so.
        faults: Those of the line itself.
    """

    known: Composer
    overrides: Sequence[str]
    sweep: bool
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parsed: list[Override] = []
        for text in self.overrides:
            try:
                self._parsed.append(self.known.parse(text))
            except HydraException as error:
                self.faults.append(syntax_fault(text, error))
        self._take_search_path()
        base = self._base()
        self.sweep = self.sweep or (base is not None and base.hydra.mode == RunMode.MULTIRUN)
        self._params: dict[str, Any] = {}
        if self.sweep and base is not None and base.hydra.sweeper.get("params"):
            self._params = dict(base.hydra.sweeper.params)
        self._drop_misplaced_sweeps()

    def _take_search_path(self) -> None:
        """Moves the search path from the overrides to what composes them."""
        taken = [
            item for item in self._parsed if item.get_key_element() == SEARCH_PATH and not item.is_sweep_override()
        ]
        if not taken:
            return
        self._parsed = [item for item in self._parsed if item not in taken]
        faults = search_path_faults(taken[0].value())
        self.faults += faults
        if not faults:
            self.known = replace(self.known, search_path=(str(taken[0].input_line),))

    def _base(self) -> DictConfig | None:
        """The configuration without what is swept, or None if it cannot be composed."""
        try:
            return self.known.compose(self.fixed)
        except CompositionError:
            return None

    def _drop_misplaced_sweeps(self) -> None:
        for override in [item for item in self._parsed if item.is_sweep_override()]:
            where, value = override.get_key_element(), override.get_value_string()
            if not self.sweep:
                fix = f"add -m to run a job for each, or write {where}=[{value}] if a list is meant"
                fault = Fault(where, f"'{value}' is several values", fix)
            elif override.is_hydra_override():
                fault = Fault(where, "Hydra's own settings cannot be swept", "give one value")
            elif not override.is_discrete_sweep():
                fault = Fault(where, f"'{value}' cannot be enumerated", "list the values: a,b,c or range(0,3)")
            else:
                continue
            self.faults.append(fault)
            self._parsed.remove(override)

    @property
    def fixed(self) -> list[str]:
        """The overrides with one value."""
        return [str(item.input_line) for item in self._parsed if not item.is_sweep_override()]

    @property
    def hydra(self) -> list[str]:
        """The overrides of Hydra's own settings."""
        return [str(item.input_line) for item in self._parsed if item.is_hydra_override()]

    def jobs(self) -> list[list[str]]:
        """The overrides of each job of the sweep, as Hydra's sweeper makes them."""
        params = [self.known.parse(f"{key}={value}") for key, value in self._params.items()]
        task = [item for item in self._parsed if not item.is_hydra_override()]
        return BasicSweeper.split_arguments([*params, *task], None)[0]


def job_faults(known: Composer, overrides: Sequence[str], *, check_values: bool) -> list[Fault]:
    """All faults of one job."""
    faults, fine = _composition_faults(known, overrides)
    if fine is None or not check_values:
        return faults
    cfg = known.compose(fine)
    idle = idle_faults(cfg, [known.parse(text) for text in fine])
    return list(dict.fromkeys([*faults, *value_faults(cfg), *idle, *launcher_faults(cfg.hydra.launcher)]))


def _composition_faults(known: Composer, overrides: Sequence[str]) -> tuple[list[Fault], list[str] | None]:
    """The faults of composing, and the overrides that are fine; None if nothing can be composed at all."""
    try:
        known.compose(overrides)
    except CompositionError:
        pass
    else:
        return [], list(overrides)
    try:
        known.compose([])
    except CompositionError as error:
        what = str(error).strip().splitlines()[0]
        return [Fault(f"configuration '{known.config_name}'", what, "repair it, or leave out --config-dir")], None
    faults: list[Fault] = []
    fine: list[str] = []
    wrong_nodes: set[str] = set()
    # Choices first: whether an option exists depends on the choice of its group.
    for override in sorted(map(known.parse, overrides), key=lambda item: not is_choice(known, item)):
        if not is_choice(known, override) and node_of(override) in wrong_nodes:
            continue
        try:
            known.compose([*fine, str(override.input_line)])
        except CompositionError as error:
            faults.append(composition_fault(known, override, known.compose(fine), error))
            wrong_nodes.add(node_of(override)) if is_choice(known, override) else None
        else:
            fine.append(str(override.input_line))
    return faults, fine


def _in_jobs(fault: Fault, numbers: Sequence[int], jobs: Sequence[Sequence[str]]) -> Fault:
    """Says which jobs of a sweep have the fault, unless all have."""
    if len(numbers) == len(jobs):
        return fault
    everywhere = set(jobs[0]).intersection(*jobs[1:])
    named = [
        f"#{number} ({' '.join(item for item in jobs[number] if item not in everywhere)})"
        for number in numbers[:_NAMED_JOBS]
    ]
    more = f" and {len(numbers) - _NAMED_JOBS} more" if len(numbers) > _NAMED_JOBS else ""
    return Fault(fault.where, f"{fault.what} [job {', '.join(named)}{more}]", fault.fix)
