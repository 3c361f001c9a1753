"""What a study would cost elsewhere: ``specs-lab scale [overrides] --gpus 8 --hardware h100``. Nothing is run.

For each stage: operations, memory of a device, a range of wall times, GPU-hours. Times rest on assumed efficiencies and
lengths; see ``docs/scaling.md`` for what they are worth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError, suggest

if TYPE_CHECKING:
    from specs_lab.scaling.planning import Plan
    from specs_lab.scaling.prediction import StageCost
    from specs_lab.stages.context import Study

_HERE = "trainer.accelerator=cpu"
"""The study is not run here: whether a GPU is there does not matter."""
_GIGA = 1e9
_WIDTH = 132


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs-lab scale", description="What a study would cost on other machines.")
    parser.add_argument("overrides", nargs="*", help="the study's overrides, as for specs-lab")
    parser.add_argument("--gpus", type=int, help="how many (default: trainer.devices x trainer.nodes)")
    parser.add_argument("--hardware", default="h100", help="a100, h100 or h200 (default: h100)")
    parser.add_argument("--strategy", default="auto", help="single, ddp, fsdp2, or auto: the simplest that fits")
    parser.add_argument("--engine", help="inprocess or vllm (default: the study's)")
    parser.add_argument("--prompt-tokens", type=int, help="of a prompt, its picture included")
    parser.add_argument("--response-tokens", type=float, help="of a response, on average")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, whether or not it fits; 2 wrong input."""
    arguments = _arguments(argv)
    try:
        plan = _plan(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    if arguments.json:
        from specs_lab.scaling.planning import as_data

        print(json.dumps(as_data(plan), indent=1))
    else:
        _show(plan)


def compose_study(overrides: Sequence[str]) -> Study:
    """The study of some overrides, as it would be run where there are GPUs.

    Raises:
        UserError: With everything that is wrong with them.
    """
    from specs_lab.cli.composition import composer, prepare
    from specs_lab.cli.preflight import find_faults
    from specs_lab.cli.values import study_of
    from specs_lab.core.errors import raise_faults

    prepare()
    given = [*overrides, _HERE]
    with composer() as known:
        raise_faults(find_faults(known, given, sweep=False))
        return study_of(known.compose(given))


def _plan(arguments: argparse.Namespace) -> Plan:
    from specs_lab.scaling.hardware import hardware
    from specs_lab.scaling.loads import loads_of
    from specs_lab.scaling.planning import plan_on, scenarios_of

    _check(arguments)
    device = hardware(arguments.hardware)
    study = compose_study(arguments.overrides)
    gpus = arguments.gpus or study.trainer.devices * study.trainer.nodes
    loads = loads_of(study, arguments.prompt_tokens)
    if not loads:
        raise UserError([Fault("recipe", "no stage trains or samples", "choose a recipe that does")])
    return plan_on(
        loads,
        device,
        gpus,
        strategy=arguments.strategy,
        engine=arguments.engine or engine_of(study),
        efficiencies=scenarios_of(arguments.response_tokens),
    )


def _check(arguments: argparse.Namespace) -> None:
    from specs_lab.core.errors import raise_faults
    from specs_lab.scaling.cluster import ENGINES, STRATEGIES
    from specs_lab.scaling.planning import AUTO

    faults: list[Fault] = []
    for name, known in (("strategy", (AUTO, *STRATEGIES)), ("engine", ENGINES)):
        value = getattr(arguments, name)
        if value is not None and value not in known:
            faults.append(Fault(f"--{name}", f"there is no '{value}'", suggest(value, known)))
    for name in ("gpus", "prompt_tokens", "response_tokens"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            faults.append(Fault(f"--{name.replace('_', '-')}", f"{value} is less than 1", "give a number >= 1"))
    if arguments.strategy == "single" and (arguments.gpus or 1) > 1:
        faults.append(Fault("--strategy", "a single process uses one GPU", "choose ddp or fsdp2, or --gpus 1"))
    raise_faults(faults)


def engine_of(study: Study) -> str:
    """What samples in a study: a choice of the group ``rollout``, if it has one."""
    chosen = study.nodes().get("rollout")
    return "vllm" if chosen is not None and "vllm" in type(chosen).__name__.lower() else "inprocess"


# --- the page ---


def _show(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    cluster = plan.cluster
    console = Console()
    console.width = max(console.width, _WIDTH)  # a table that is cut or wrapped says nothing
    title = f"{cluster.gpus} x {cluster.hardware.name}, {cluster.strategy}, responses by {cluster.engine}"
    table = Table("stage", "method", "FLOPs", "GB a GPU", "hours", "GPU-hours", "sampled/s", "busy", "most of it")
    table.title = title
    for cost in plan.costs:
        table.add_row(*_row(cost), style="" if cost.found.fits else "red")
    if plan.fits:
        table.add_section()
        table.add_row(
            "all",
            "",
            "",
            "",
            span(plan.hours),
            span(plan.gpu_hours),
            "",
            f"{plan.busy('central'):.0%}",
            "",
            style="bold",
        )
    console.print(table)
    console.print(f"Central, in brackets fast to slow. Peaks: {cluster.hardware.source}.", soft_wrap=True)
    console.print("Efficiencies and lengths of responses are assumptions (docs/scaling.md), not measurements.")
    for cost in plan.costs:
        if not cost.found.fits:
            console.print(f"{cost.load.name} does not fit: {_largest(cost)}", style="red", soft_wrap=True)


def _row(cost: StageCost) -> list[str]:
    memory = f"{cost.found.memory.peak / _GIGA:.0f}"
    lead = [cost.load.name, cost.load.method, f"{cost.flops:.1e}"]
    if not cost.found.fits:
        return [*lead, f"{memory}: too large", "", "", "", "", ""]
    hours = span(lambda name: cost.seconds(name) / 3600)
    rate = number(cost.sampled / cost.seconds("central")) if cost.sampled else ""
    return [*lead, memory, hours, span(cost.gpu_hours), rate, f"{cost.busy:.0%}", cost.limit]


def span(value: Callable[[str], float]) -> str:
    """A central value and its range."""
    return f"{number(value('central'))} ({number(value('fast'))} to {number(value('slow'))})"


def number(value: float) -> str:
    """Two significant digits."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _largest(cost: StageCost) -> str:
    if not cost.found.sharing:
        return "no engine on one machine can hold the model beside the rest"
    parts = sorted(cost.found.memory.parts.items(), key=lambda part: -part[1])[:3]
    return ", ".join(f"{name} {size / _GIGA:.0f} GB" for name, size in parts)


if __name__ == "__main__":
    main()
