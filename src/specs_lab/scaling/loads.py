"""What each stage of a study does, in numbers: read off the composed configuration, not off the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.preflight.loads import Setup
from specs_lab.preflight.needs import Prompts, Shapes, models_of, setup_of, typical_prompts
from specs_lab.preflight.shapes import ModelShape
from specs_lab.scaling.architectures import shape_of_repo
from specs_lab.stages.context import Study
from specs_lab.stages.graph import PlannedStage
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.nodes import options_of, used_inputs
from specs_lab.stages.rounds import unrolled

_TYPICAL_PIXELS = 1 << 20
_TYPICAL_TEXT = 128
_PAIR = 2


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Responses that one process samples while the others wait.

    Attributes:
        prompts: Prompts, a pass.
        group: Responses to each.
        most: Longest response.
        times: Passes.
        uncertain: Whether how many prompts are needed depends on how many responses can be kept.
    """

    prompts: int
    group: int
    most: int
    times: int = 1
    uncertain: bool = False


@dataclass(frozen=True, kw_only=True)
class StageLoad:
    """A stage in numbers.

    Attributes:
        name: Its name in the recipe.
        kind: Its kind.
        method: ``grpo``, ``sft``, ``dpo`` (any loss of two sides), ``hybrid``; empty for a stage that only samples.
        shape: The model.
        setup: How it is held.
        prompts: How long prompts are.
        steps: Optimizer steps.
        batch: Prompts (or pairs) in each.
        branches: Responses behind each.
        updates: Updates on each batch.
        references: Passes of a reference over each batch.
        pairs: Pairs whose reference log-probabilities are computed once before training.
        most: Longest response.
        asked: What is sampled beside.
        micro_batch_tokens: As of the trainer.
        sample_batch_size: As of the trainer.
        shared: Whether responses share their prompt.
    """

    name: str
    kind: str
    method: str = ""
    shape: ModelShape
    setup: Setup
    prompts: Prompts
    steps: int = 0
    batch: int = 0
    branches: int = 1
    updates: int = 1
    references: float = 0.0
    pairs: int = 0
    most: int = 0
    asked: tuple[Asked, ...] = ()
    micro_batch_tokens: int = 16384
    sample_batch_size: int = 512
    shared: bool = True


class KnownShapes(Shapes):
    """Shapes of published models without a look at the hub; of others as the preflight finds them."""

    def of(self, model: Any) -> ModelShape | None:
        """The shape of the model that an option chooses; None if it cannot be told."""
        return shape_of_repo(getattr(model, "repo", "")) or super().of(model)


def loads_of(study: Study, prompt_tokens: int | None = None) -> list[StageLoad]:
    """The stages of a study that compute something, in the order of the recipe.

    Args:
        study: The study; nothing is read of its data or its store.
        prompt_tokens: Of a prompt; by default what a picture as large as the pixel budget takes, and some text.

    Raises:
        UserError: If the shape of a model cannot be told.
    """
    stages = _stages(study)
    models, shapes = models_of(stages), KnownShapes()
    found = [load for stage in stages for load in _load(study, stage, models.get(stage.name), shapes, prompt_tokens)]
    if shapes.unknown:
        fix = "name a model whose configuration is on this machine (model=folder), or one of the Qwen2.5-VL family"
        raise UserError([Fault("model", what, fix) for what in dict.fromkeys(shapes.unknown)])
    return found


def _stages(study: Study) -> list[PlannedStage]:
    """As :func:`specs_lab.stages.graph.plan`, without keys: they would need the data's and the models' identities."""
    specs = unrolled(study.recipe)
    options = {name: options_of(study, spec, KINDS[spec.kind]) for name, spec in specs.items()}
    hands_on = {name: KINDS[spec.kind].stands_for(options[name]) for name, spec in specs.items()}

    def real(name: str) -> str:
        handed = hands_on[name]
        return name if handed is None else real(specs[name].inputs[handed])

    inputs = {
        name: {
            i: real(source) for i, source in spec.inputs.items() if i in used_inputs(KINDS[spec.kind], options[name])
        }
        for name, spec in specs.items()
    }
    ends = {real(name) for name in specs} - {source for spec in specs.values() for source in spec.inputs.values()}
    needed = {real(name) for name in ends}
    while more := {source for name in needed for source in inputs[name].values()} - needed:
        needed |= more
    return [
        PlannedStage(name=name, kind=spec.kind, key="", inputs=inputs[name], options=options[name], seed=None)
        for name, spec in specs.items()
        if name in needed
    ]


def prompts_of(model: Any, shape: ModelShape, tokens: int | None = None) -> Prompts:
    """How long prompts are: one picture of the pixel budget, and some text.

    Args:
        model: The model's options.
        shape: Its shape.
        tokens: Of a prompt, if it is known; the picture is what remains without the text.
    """
    merged = (max(1, shape.patch or 14) * max(1, shape.merge)) ** 2
    if tokens is not None:
        return Prompts(tokens=tokens, patches=max(0, tokens - _TYPICAL_TEXT) * max(1, shape.merge) ** 2)
    if not getattr(model, "repo", ""):
        return typical_prompts(model, shape)
    pictured = min(_TYPICAL_PIXELS, getattr(model, "max_pixels", None) or _TYPICAL_PIXELS) // merged
    return Prompts(tokens=pictured + _TYPICAL_TEXT, patches=pictured * max(1, shape.merge) ** 2)


def _load(
    study: Study, stage: PlannedStage, model: Any, shapes: Shapes, prompt_tokens: int | None
) -> Iterator[StageLoad]:
    kinds = ("rl", "coldstart", "construct", "evaluate", "explore", "select")
    shape = shapes.of(model) if stage.kind in kinds and model is not None else None
    if shape is None:
        return
    trainer = study.trainer
    common = StageLoad(
        name=stage.name,
        kind=stage.kind,
        shape=shape,
        setup=replace(setup_of(study, stage, model, None), device="cuda"),
        prompts=prompts_of(model, shape, prompt_tokens),
        micro_batch_tokens=trainer.micro_batch_tokens,
        sample_batch_size=trainer.sample_batch_size,
        shared=trainer.share_prompts,
    )
    if stage.kind == "rl":
        yield _rl(common, stage.options)
    elif stage.kind == "coldstart":
        yield _cold(common, stage.options)
    else:
        yield replace(common, asked=_asked(stage), most=max((one.most for one in _asked(stage)), default=0))


def _rl(common: StageLoad, options: Mapping[str, Any]) -> StageLoad:
    rl = options["rl"]
    return replace(
        common,
        method="grpo",
        steps=rl.steps,
        batch=rl.prompts_per_step,
        branches=rl.group_size,
        updates=rl.inner_updates,
        references=1.0 if rl.kl_weight else 0.0,
        most=rl.max_new_tokens,
    )


def _cold(common: StageLoad, options: Mapping[str, Any]) -> StageLoad:
    cold, suite = options["coldstart"], options["suite"]
    both = bool(getattr(cold, "needs_rejected", False))
    compared = both and not getattr(cold, "reference_free", False)
    method = type(cold).__name__.removesuffix("Options").lower()
    evaluations = 1 + -(-cold.steps // cold.eval_every)
    asked = Asked(prompts=_tasks(suite), group=1, most=suite.max_new_tokens, times=evaluations)
    return replace(
        common,
        method=method,
        steps=cold.steps,
        batch=cold.batch_size,
        branches=_PAIR if both else 1,
        pairs=cold.steps * cold.batch_size if compared else 0,
        most=suite.max_new_tokens,
        asked=(asked,),
    )


def _asked(stage: PlannedStage) -> tuple[Asked, ...]:
    options = stage.options
    if stage.kind == "construct":
        data, known = options["data"], []
        if stage.inputs:
            group = getattr(data, "chosen_samples", 1) + (
                getattr(data, "rejected_samples", 0) if data.makes_rejected else 0
            )
            known = [Asked(prompts=data.pairs, group=group, most=getattr(data, "max_new_tokens", 0), uncertain=True)]
        return tuple(known)
    if stage.kind == "select":
        select = options["select"]
        return (Asked(prompts=select.tasks, group=select.tries, most=_most(stage)),)
    suite = options["exploration" if stage.kind == "explore" else "suite"]
    return (Asked(prompts=_tasks(suite), group=getattr(suite, "samples", 1), most=suite.max_new_tokens),)


def _most(stage: PlannedStage) -> int:
    return max(getattr(option, "max_new_tokens", 0) for option in stage.options.values())


def _tasks(suite: Any) -> int:
    """Tasks of a suite; of a public benchmark, whose rows nobody has counted, as of a suite of cells."""
    return max(1, len(suite.cells)) * suite.n
