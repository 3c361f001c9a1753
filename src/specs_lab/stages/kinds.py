"""The kinds of stages that recipes are made of: what each reads, which code its result depends on, what runs it.

Runners are named, not imported, so that planning a study, and running one whose stages are all in the store, needs
neither Lightning nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from specs_lab.core.errors import Fault
from specs_lab.objectives.none import NoColdStart
from specs_lab.stages.misfits import unfit_for_cold_start, unfit_for_rl, unwritable


def _never(_: Mapping[str, Any]) -> str | None:
    return None


def _nothing(_: Mapping[str, Any], __: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    return []


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """One kind of stage.

    Attributes:
        name: The kind's name in recipes, and its folder in the store.
        makes: What its artifact is to the stages that read it: ``model``, ``pairs``, ``tasks``, or ``results`` (read by
            none).
        inputs: {input name: what that input must be, several joined by "or"}.
        uses: Given the options by role, which of the inputs are read; a recipe may name more, whose stages are not run
            for it. None: all of them.
        optional: Inputs that a recipe may leave out.
        reads: Roles of options; a role is played by the config node of the same name unless the recipe says otherwise.
        code: Packages and modules that the result depends on; see :mod:`specs_lab.core.fingerprint`.
        runner: ``"module:function"``, a function of a :class:`~specs_lab.stages.context.StageContext`.
        seeded: Whether the result depends on the study's seed.
        stands_for: Given the options by role, the input that a stage merely hands on (it is then skipped), or None.
        unfit: Given the options by role, and those of the stages that its inputs come from by input, what does not fit.
    """

    name: str
    makes: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...]
    code: tuple[str, ...]
    runner: str
    seeded: bool = False
    stands_for: Callable[[Mapping[str, Any]], str | None] = _never
    uses: Callable[[Mapping[str, Any]], Collection[str]] | None = None
    optional: frozenset[str] = frozenset()
    unfit: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], list[Fault]] = _nothing

    def accepts(self, input_name: str) -> list[str]:
        """What an input may be."""
        return self.inputs[input_name].split(" or ")


def _models_of_construction(options: Mapping[str, Any]) -> Collection[str]:
    return options["data"].reads()


def _no_cold_start(options: Mapping[str, Any]) -> str | None:
    return "model" if isinstance(options["coldstart"], NoColdStart) else None


# What several kinds depend on. Left out, because it cannot change a result: core.errors/options/progress/registry, the
# store and the planning of stages, tracking (but for the rows it writes), the trainer's options and the command line.
_MODEL = (
    "specs_lab.models.adapters",
    "specs_lab.models.adapting",
    "specs_lab.models.attention",
    "specs_lab.models.encoding",
    "specs_lab.models.families",
    "specs_lab.models.features",
    "specs_lab.models.holding",
    "specs_lab.models.image_only",
    "specs_lab.models.memory",
    "specs_lab.models.micro_batches",
    "specs_lab.models.packing",
    "specs_lab.models.pixel_budget",
    "specs_lab.models.processing",
    "specs_lab.models.prompts",
    "specs_lab.models.quantisation",
    "specs_lab.models.reference",
    "specs_lab.models.setup",
    "specs_lab.models.sources",
    "specs_lab.models.vlm",
    "specs_lab.objectives.logprobs",
    "specs_lab.stages.chain",
    "specs_lab.core.budget",
    "specs_lab.core.pictures",
)
_PROBLEMS = ("specs_lab.problems", "specs_lab.core.seeding")
_SAMPLING = (
    "specs_lab.rollout.from_reasoning",
    "specs_lab.rollout.inprocess",
    "specs_lab.rollout.plain",
    "specs_lab.rollout.sampling",
    "specs_lab.rewards",
    "specs_lab.evaluation.judges",
    "specs_lab.core.chat",
    "specs_lab.core.endpoint",
    "specs_lab.core.journal",
    "specs_lab.core.quoting",
    "specs_lab.stages.common",
    "specs_lab.stages.scoring",
    "specs_lab.training.distributed",
    "specs_lab.training.sharding",
)
_STEPS = (
    "specs_lab.training.base",
    "specs_lab.training.guards",
    "specs_lab.training.optimizers",
    "specs_lab.training.distributed",
    "specs_lab.objectives.optimisation",
    "specs_lab.objectives.terms",
    "specs_lab.tracking.rows",
)
_RESUMING = (
    "specs_lab.core.journal",
    "specs_lab.stages.resuming",
    "specs_lab.training.checkpoints",
    "specs_lab.training.fit",
    "specs_lab.training.ranks",
)
_TRAINING = (
    "specs_lab.stages.guarding",
    "specs_lab.stages.steps",
    *_RESUMING,
    "specs_lab.models.reference_cache",
    *_STEPS,
)
_EVALUATION = (
    "specs_lab.evaluation.runner",
    "specs_lab.evaluation.suites.base",
    "specs_lab.evaluation.suites.benchmark",
    "specs_lab.evaluation.suites.cells",
    "specs_lab.evaluation.suites.several",
    "specs_lab.metrics.generalization_factor",
    "specs_lab.stages.evaluate",
    "specs_lab.stages.curve",
    *_STEPS,
)
_RL = (
    "specs_lab.stages.rl",
    "specs_lab.training.groups",
    "specs_lab.training.grpo",
    "specs_lab.training.prompt_masking",
    "specs_lab.data.task_lists",
    "specs_lab.metrics.reflections",
    "specs_lab.objectives.grpo",
    "specs_lab.objectives.advantages",
    "specs_lab.objectives.kl",
    "specs_lab.rollout.engines",
    "specs_lab.rollout.options",
)

_CONSTRUCTION = (
    "specs_lab.stages.construct",
    "specs_lab.stages.describing",
    "specs_lab.data",
    "specs_lab.core.plotting",
    "specs_lab.metrics.reflections",
)

_ALL = (
    StageKind(
        name="base",
        makes="model",
        reads=("model",),
        code=("specs_lab.stages.base",),
        runner="specs_lab.stages.base:run",
    ),
    StageKind(
        name="rl",
        makes="model",
        inputs={"model": "model", "tasks": "tasks or pairs"},
        optional=frozenset({"tasks"}),
        reads=("rl", "rollout", "adapter", "reward", "judge", "problems"),
        code=(*_RL, *_TRAINING, *_SAMPLING, *_PROBLEMS, *_MODEL),
        runner="specs_lab.stages.rl:run",
        seeded=True,
        unfit=unfit_for_rl,
    ),
    StageKind(
        name="construct",
        makes="pairs",
        inputs={"self": "model", "base": "model", "teacher": "model"},
        uses=_models_of_construction,
        reads=("data", "judge", "problems"),
        code=(*_CONSTRUCTION, *_SAMPLING, *_PROBLEMS, *_MODEL),
        runner="specs_lab.stages.construct:run",
        seeded=True,
        unfit=unwritable,
    ),
    StageKind(
        name="coldstart",
        makes="model",
        inputs={"model": "model", "data": "pairs"},
        reads=("coldstart", "adapter", "suite", "judge", "problems"),
        code=(
            "specs_lab.stages.coldstart",
            "specs_lab.stages.describing",
            "specs_lab.objectives.sft",
            "specs_lab.objectives.dpo",
            "specs_lab.objectives.preferences",
            "specs_lab.objectives.hybrid",
            "specs_lab.training.cold_start",
            "specs_lab.data.records",
            *_TRAINING,
            *_EVALUATION,
            *_SAMPLING,
            *_PROBLEMS,
            *_MODEL,
        ),
        runner="specs_lab.stages.coldstart:run",
        seeded=True,
        stands_for=_no_cold_start,
        unfit=unfit_for_cold_start,
    ),
    StageKind(
        name="select",
        makes="tasks",
        inputs={"model": "model"},
        reads=("select", "judge", "problems"),
        code=("specs_lab.stages.select", *_CONSTRUCTION, *_SAMPLING, *_PROBLEMS, *_MODEL),
        runner="specs_lab.stages.select:run",
        seeded=True,
    ),
    # Not seeded: every model answers the same tasks under the same random numbers.
    StageKind(
        name="evaluate",
        makes="results",
        inputs={"model": "model"},
        reads=("suite", "judge", "problems"),
        code=(*_EVALUATION, *_SAMPLING, *_PROBLEMS, *_MODEL),
        runner="specs_lab.stages.evaluate:run",
    ),
    # Not seeded, for the same reason.
    StageKind(
        name="explore",
        makes="results",
        inputs={"model": "model"},
        reads=("exploration", "suite", "judge", "problems"),
        code=(
            "specs_lab.stages.explore",
            "specs_lab.evaluation.exploration",
            "specs_lab.evaluation.runner",
            "specs_lab.evaluation.suites",
            "specs_lab.metrics.exploration",
            "specs_lab.metrics.passk",
            "specs_lab.metrics.reflections",
            "specs_lab.metrics.stuckness",
            "specs_lab.tracking.rows",
            *_SAMPLING,
            *_PROBLEMS,
            *_MODEL,
        ),
        runner="specs_lab.stages.explore:run",
    ),
    # Not seeded: the seed of a base model is one of its options.
    StageKind(
        name="pretrain",
        makes="model",
        reads=("pretrain", "suite", "judge", "problems"),
        code=(
            "specs_lab.stages.pretrain",
            "specs_lab.pretraining",
            "specs_lab.models.embedded",
            *_RESUMING,
            *_EVALUATION,
            *_SAMPLING,
            *_PROBLEMS,
            *_MODEL,
        ),
        runner="specs_lab.stages.pretrain:run",
    ),
)

KINDS: Mapping[str, StageKind] = {kind.name: kind for kind in _ALL}
"""The stage kinds by name."""
