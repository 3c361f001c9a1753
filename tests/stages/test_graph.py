import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.data.constructions.base import FromTasks
from specs_lab.data.constructions.base_distill import BaseDistill
from specs_lab.data.constructions.file import UserFile
from specs_lab.data.constructions.self_distill import SelfDistill
from specs_lab.data.constructions.teacher_distill import TeacherDistill
from specs_lab.data.selections.tries import SelectOptions
from specs_lab.data.teachers.model import ModelTeacher
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.evaluation.judges.overlap import OverlapJudge
from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.evaluation.suites.sampled import SampledSuite
from specs_lab.models.sources.embedded import FolderModel
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.none import NoColdStart
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.context import Faulty, Study
from specs_lab.stages.faults import find_faults
from specs_lab.stages.graph import PlannedStage, plan, stage_key
from specs_lab.stages.kinds import KINDS, StageKind
from specs_lab.stages.options.recipe import Paths, Recipe, StageSpec
from specs_lab.tracking.options.logger import LoggerOptions
from specs_lab.training.options.trainer import TrainerOptions

# The real kinds, but for their code: what these tests say must hold while it is being edited.
TEST_KINDS = {name: replace(kind, code=("specs_lab.core.errors",)) for name, kind in KINDS.items()}

SPECS = {
    "base": StageSpec(kind="base"),
    "zero": StageSpec(kind="rl", inputs={"model": "base"}, options={"rl": "zero"}),
    "teacher": StageSpec(kind="base", options={"model": "teacher_model"}),
    "pairs": StageSpec(kind="construct", inputs={"self": "zero", "base": "base", "teacher": "teacher"}),
    "cold": StageSpec(kind="coldstart", inputs={"model": "base", "data": "pairs"}),
    "final": StageSpec(kind="rl", inputs={"model": "cold"}),
    "evaluate_base": StageSpec(kind="evaluate", inputs={"model": "base"}),
    "evaluate_zero": StageSpec(kind="evaluate", inputs={"model": "zero"}),
    "evaluate_final": StageSpec(kind="evaluate", inputs={"model": "final"}),
}
ALL = set(SPECS) - {"teacher"}
"""What is planned: self-distillation asks no teacher."""

Change = Callable[[Study], Any]


@dataclass(kw_only=True)
class _TwinOfAccuracy(AccuracyTerm):
    """Another class with the same fields."""


def _reward(**options: Any) -> WeightedReward:
    return WeightedReward(terms={"accuracy": AccuracyTerm(**options)})


@pytest.fixture
def checkpoint(tmp_path: Path, fake_checkpoint: Path) -> Path:
    """One of its own, as tests change it."""
    return Path(shutil.copytree(fake_checkpoint, tmp_path / "checkpoint"))


@pytest.fixture
def study(checkpoint: Path) -> Study:
    return Study(
        recipe=Recipe(stages=deepcopy(SPECS)),
        paths=Paths(cache="unused"),
        coldstart=SFTOptions(),
        data=SelfDistill(),
        rl=GRPOOptions(steps=50),
        zero=GRPOOptions(steps=10),
        reward=_reward(),
        judge=NoJudge(),
        model=FolderModel(path=str(checkpoint)),
        teacher_model=FolderModel(path=str(checkpoint)),
        problems=ProceduralProblems(
            families=["count"],
            ood_families=["clock"],
            instructions=["tags"],
            styles=["plain"],
            cells={"id": Cell(), "ood": Cell(family="ood")},
        ),
        suite=CellsSuite(cells=["id", "ood"]),
        trainer=TrainerOptions(),
        logger=LoggerOptions(),
    )


def planned(study: Study, kinds: Mapping[str, StageKind] = TEST_KINDS) -> dict[str, PlannedStage]:
    return {stage.name: stage for stage in plan(study, kinds)}


def keys(study: Study, kinds: Mapping[str, StageKind] = TEST_KINDS) -> dict[str, str]:
    return {name: stage.key for name, stage in planned(study, kinds).items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


# --- order ---


def test_every_stage_is_planned_after_its_inputs(study: Study) -> None:
    study.recipe.stages = dict(reversed(study.recipe.stages.items()))
    done: set[str] = set()
    for stage in plan(study, TEST_KINDS):
        assert set(stage.inputs.values()) <= done
        done.add(stage.name)
    assert done == ALL


def test_stages_get_the_options_of_their_roles(study: Study) -> None:
    stages = planned(study)
    assert stages["zero"].options == {
        "rl": study.zero,
        "adapter": study.adapter,
        "reward": study.reward,
        "rollout": study.rollout,
        "judge": study.judge,
        "problems": study.problems,
    }
    assert stages["final"].options["rl"] is study.rl
    assert stages["base"].options == {"model": study.model}


def test_further_nodes_can_play_a_role(study: Study) -> None:
    study.extra["long"] = GRPOOptions(steps=500)
    study.recipe.stages["final"].options["rl"] = "long"
    assert planned(study)["final"].options["rl"] is study.extra["long"]


def test_a_study_is_made_of_config_nodes(study: Study) -> None:
    nodes = {"seed": 3, "recipe": study.recipe, "paths": study.paths, "rl": study.rl, "long": study.zero}
    made = Study.of(nodes)
    assert (made.seed, made.rl, made.extra) == (3, study.rl, {"long": study.zero})


# --- keys ---


def test_keys_are_of_one_form_and_differ(study: Study) -> None:
    made = list(keys(study).values())
    assert all(len(key) == 20 and set(key) <= set("0123456789abcdef") for key in made)
    assert len(set(made)) == len(made)


def test_the_order_of_the_recipe_does_not_matter(study: Study) -> None:
    before = keys(study)
    study.recipe.stages = dict(reversed(study.recipe.stages.items()))
    assert keys(study) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: setattr(s.rl, "lr", 1e-3), {"final", "evaluate_final"}),
        (lambda s: setattr(s.coldstart, "lr", 1e-3), {"cold", "final", "evaluate_final"}),
        (lambda s: setattr(s, "coldstart", DPOOptions()), {"cold", "final", "evaluate_final"}),
        (lambda s: s.data.pollutions.pop("no_tags"), {"pairs", "cold", "final", "evaluate_final"}),
        (lambda s: setattr(s.zero, "lr", 1e-3), ALL - {"base", "evaluate_base"}),
        (lambda s: setattr(s.reward.terms["accuracy"], "weight", 0.1), ALL - {"base", "evaluate_base"}),
        (lambda s: s.reward.terms.update(accuracy=_TwinOfAccuracy()), ALL - {"base", "evaluate_base"}),
        (lambda s: setattr(s, "judge", OverlapJudge()), ALL - {"base"}),
        (lambda s: setattr(s, "seed", 1), ALL - {"base", "evaluate_base"}),
        (lambda s: setattr(s.suite, "n", 9), {"cold", "final"} | {name for name in ALL if "evaluate" in name}),
        (lambda s: s.problems.cells.update(new=Cell(family="ood")), ALL - {"base"}),
        (lambda s: setattr(s.model, "freeze_vision", False), ALL),
        (lambda s: (s.model.folder / "model.safetensors").write_bytes(b"others!"), ALL),
        (lambda s: (s.model.folder / "model.safetensors").rename(s.model.folder / "renamed"), ALL),
        (lambda s: setattr(s, "trainer", TrainerOptions(threads=8)), set()),
        (lambda s: setattr(s, "logger", LoggerOptions(kinds=["csv"])), set()),
        (lambda s: setattr(s, "paths", Paths(cache="elsewhere")), set()),
        (lambda s: setattr(s, "pretrain", _reward()), set()),
    ],
)
def test_a_change_makes_anew_what_depends_on_it_and_nothing_else(
    study: Study, change: Change, expected: set[str]
) -> None:
    before = keys(study)
    change(study)
    assert changed(before, keys(study)) == expected


def test_a_checkpoint_counts_by_its_content_not_by_its_place(study: Study, checkpoint: Path, tmp_path: Path) -> None:
    before = keys(study)
    shutil.copytree(checkpoint, tmp_path / "copy")
    study.model = FolderModel(path=f"{tmp_path}/./copy/")
    assert keys(study) == before


def test_other_code_makes_the_kind_and_what_follows_anew(study: Study) -> None:
    other = {**TEST_KINDS, "coldstart": replace(TEST_KINDS["coldstart"], code=("specs_lab.core.seeding",))}
    assert changed(keys(study), keys(study, other)) == {"cold", "final", "evaluate_final"}


@dataclass(kw_only=True)
class Numbers:
    lr: float = 1.0
    weights: dict[str, float] = field(default_factory=lambda: {"a": 2.0})
    range: tuple[float, ...] = (0.0, 1e6)
    on: bool = True


@pytest.fixture
def key_of() -> Callable[[Any], str]:
    return lambda option: stage_key(TEST_KINDS["base"], {"model": option}, None, {})


def test_it_does_not_matter_how_a_number_is_typed(key_of: Callable[[Any], str]) -> None:
    assert key_of(Numbers(lr=1, weights={"a": 2}, range=(0, 1_000_000))) == key_of(Numbers())


@pytest.mark.parametrize(
    "other", [Numbers(lr=1.0000000000000002), Numbers(lr=float("inf")), Numbers(on=False), Numbers(weights={"b": 2.0})]
)
def test_every_other_value_has_another_key(other: Numbers, key_of: Callable[[Any], str]) -> None:
    assert key_of(other) != key_of(Numbers())


def test_options_of_equal_fields_and_different_classes_differ(key_of: Callable[[Any], str]) -> None:
    @dataclass(kw_only=True)
    class Others(Numbers):
        pass

    assert key_of(Others()) != key_of(Numbers())


def test_the_order_of_a_mapping_does_not_matter(key_of: Callable[[Any], str]) -> None:
    assert key_of(Numbers(weights={"a": 1.0, "b": 2.0})) == key_of(Numbers(weights={"b": 2.0, "a": 1.0}))


def test_an_unseeded_kind_has_no_seed(study: Study) -> None:
    study.seed = 7
    seeds = {name: stage.seed for name, stage in planned(study).items()}
    assert {name for name, seed in seeds.items() if seed is None} == {name for name in ALL if "base" in name} | {
        "evaluate_zero",
        "evaluate_final",
    }
    assert set(seeds.values()) == {None, 7}


# --- no cold start ---


def test_without_a_cold_start_rl_starts_from_the_base_and_no_pairs_are_made(study: Study) -> None:
    study.coldstart = NoColdStart()
    stages = planned(study)
    assert set(stages) == ALL - {"cold", "pairs"}
    assert stages["final"].inputs == {"model": "base"}


def test_without_a_cold_start_equal_rl_is_one_artifact(study: Study) -> None:
    study.coldstart, study.rl = NoColdStart(), study.zero
    made = keys(study)
    assert made["final"] == made["zero"]


def test_a_chain_of_skipped_stages_stands_for_its_first_input(study: Study) -> None:
    study.coldstart = NoColdStart()
    study.recipe.stages["warmer"] = StageSpec(kind="coldstart", inputs={"model": "cold", "data": "pairs"})
    study.recipe.stages["final"].inputs["model"] = "warmer"
    assert planned(study)["final"].inputs == {"model": "base"}


def test_a_recipe_that_ends_in_no_cold_start_plans_what_it_stands_for(study: Study) -> None:
    study.coldstart = NoColdStart()
    for name in ALL - {"base", "teacher", "zero", "pairs", "cold"}:
        del study.recipe.stages[name]
    assert list(planned(study)) == ["base"]


# --- inputs that are not read ---


@dataclass(kw_only=True)
class _NobodyWrites(FromTasks):
    """Chosen sides from nobody: reads the base model at most."""

    def drafts(self, tasks, shop):
        raise NotImplementedError


def test_what_only_unread_inputs_need_is_not_run(study: Study) -> None:
    """A construction that does not ask the zero model does not make it be trained; an evaluation does."""
    study.data = BaseDistill()
    stages = planned(study)
    assert stages["pairs"].inputs == {"base": "base"}
    assert set(stages) == ALL
    del study.recipe.stages["evaluate_zero"]
    assert set(planned(study)) == ALL - {"zero", "evaluate_zero"}


def test_options_of_unread_inputs_do_not_enter_the_key(study: Study) -> None:
    study.data = BaseDistill()
    before = keys(study)
    study.zero.lr = 1e-3
    assert changed(before, keys(study)) == {"zero", "evaluate_zero"}


@pytest.mark.parametrize(
    ("data", "inputs"),
    [
        (SelfDistill(), {"self", "base"}),
        (SelfDistill(rejected_form="none"), {"self"}),
        (BaseDistill(rejected_form="none"), {"base"}),
        (TeacherDistill(), {"teacher", "base"}),
        (TeacherDistill(teacher=ModelTeacher(model="self")), {"self", "base"}),
        (_NobodyWrites(rejected_form="none"), set()),
    ],
)
def test_a_construction_reads_the_models_that_it_asks(study: Study, data: Any, inputs: set[str]) -> None:
    study.data, study.coldstart = data, SFTOptions()
    assert set(planned(study)["pairs"].inputs) == inputs


def test_a_recipe_need_not_name_inputs_that_are_not_read(study: Study) -> None:
    study.data = BaseDistill()
    spoil("pairs", inputs={"base": "base"})(study)
    assert planned(study)["pairs"].inputs == {"base": "base"}


def test_an_optional_input_may_be_left_out_or_named(study: Study) -> None:
    assert "tasks" not in planned(study)["final"].inputs
    study.rl.buckets = ["cold"]
    spoil("final", inputs={"model": "cold", "tasks": "pairs"})(study)
    assert planned(study)["final"].inputs == {"model": "cold", "tasks": "pairs"}
    study.select = SelectOptions(mixture=["id"])
    study.rl.buckets = ["hard"]
    study.recipe.stages["levels"] = StageSpec(kind="select", inputs={"model": "zero"})
    spoil("final", inputs={"model": "cold", "tasks": "levels"})(study)
    assert planned(study)["final"].inputs == {"model": "cold", "tasks": "levels"}


# --- data from a file ---


def test_data_of_a_file_count_by_what_is_in_it(study: Study, tmp_path: Path) -> None:
    """Not by the place of the file or the way that it is written; reading no model, it makes none be trained."""
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        file.write_text("{}")
    study.data = UserFile(path=str(files[0]))
    before = keys(study)
    assert planned(study)["pairs"].inputs == {}
    study.data = UserFile(path=f"{tmp_path}/./b.jsonl")
    assert keys(study) == before
    files[1].write_text("{} ")
    after = keys(study)
    assert changed(before, after) == {"pairs", "cold", "final", "evaluate_final"}
    study.data = UserFile(path=str(files[0]), skip_broken=True)
    assert keys(study)["pairs"] not in (before["pairs"], after["pairs"])


# --- streams ---


def test_a_stream_separates_what_is_seeded_and_nothing_else(study: Study) -> None:
    before = keys(study)
    for spec in study.recipe.stages.values():
        spec.stream = "second"
    after = planned(study)
    assert {name for name, stage in after.items() if stage.stream} == {"zero", "pairs", "cold", "final"}
    assert changed(before, keys(study)) == ALL - {"base", "evaluate_base"}


# --- faults ---


def spoil(stage: str, **changes: Any) -> Change:
    return lambda s: s.recipe.stages.update({stage: replace(s.recipe.stages[stage], **changes)})


FAULTY: dict[str, tuple[Change, str, str]] = {
    "no stages": (lambda s: s.recipe.stages.clear(), "recipe.stages", "no stages"),
    "unknown kind": (spoil("pairs", kind="konstruct"), "recipe.stages.pairs.kind", "'konstruct'"),
    "unknown stage": (
        spoil("final", inputs={"model": "cald"}),
        "recipe.stages.final.inputs.model",
        "there is no stage 'cald'",
    ),
    "missing input": (spoil("cold", inputs={"model": "base"}), "recipe.stages.cold.inputs", "needs the input 'data'"),
    "input too many": (
        spoil("final", inputs={"model": "cold", "data": "pairs"}),
        "recipe.stages.final.inputs.data",
        "no input 'data'",
    ),
    "input of a wrong sort": (
        spoil("final", inputs={"model": "pairs"}),
        "recipe.stages.final.inputs.model",
        "'pairs' makes pairs",
    ),
    "missing node": (lambda s: setattr(s, "data", None), "recipe.stages.pairs", "no options 'data'"),
    "unknown node": (spoil("zero", options={"rl": "zera"}), "recipe.stages.zero.options.rl", "no options 'zera'"),
    "a node that is none": (
        spoil("zero", options={"rl": "seed"}),
        "recipe.stages.zero.options.rl",
        "no options 'seed'",
    ),
    "unknown role": (
        spoil("zero", options={"rl": "zero", "suit": "suite"}),
        "recipe.stages.zero.options.suit",
        "reads no options 'suit'",
    ),
    "cycle": (
        spoil("zero", inputs={"model": "final"}),
        "recipe.stages",
        "wait for each other",
    ),
    "stage of itself": (spoil("zero", inputs={"model": "zero"}), "recipe.stages", "zero -> zero"),
    "mixture of RL": (lambda s: s.zero.mixture.append("odd"), "zero.mixture", "no cell 'odd'"),
    "mixture of pairs": (lambda s: s.data.mixture.append("odd"), "data.mixture", "no cell 'odd'"),
    "mixture of tasks": (
        lambda s: (
            setattr(s, "select", SelectOptions(mixture=["odd"])),
            s.recipe.stages.update(levels=StageSpec(kind="select", inputs={"model": "base"})),
        ),
        "select.mixture",
        "no cell 'odd'",
    ),
    "cells of exploration": (
        lambda s: (
            setattr(s, "exploration", SampledSuite(cells=["odd"])),
            s.recipe.stages.update(explore=StageSpec(kind="explore", inputs={"model": "base"})),
        ),
        "exploration.cells",
        "no cell 'odd'",
    ),
    "a model that the construction asks": (
        spoil("pairs", inputs={"base": "base"}),
        "recipe.stages.pairs.inputs",
        "needs the input 'self'",
    ),
    "data without a rejected side": (
        lambda s: (setattr(s, "coldstart", DPOOptions()), setattr(s, "data", SelfDistill(rejected_form="none"))),
        "coldstart",
        "no rejected one",
    ),
    "pairs in a format that is only read": (
        lambda s: (
            s.problems.alternative_instructions.append("boxed"),
            s.problems.cells.update(boxed=Cell(instruction="alternative")),
            setattr(s, "data", SelfDistill(mixture=["boxed"])),
        ),
        "data.mixture",
        "asks for 'think_boxed'",
    ),
    "buckets without tasks": (lambda s: s.rl.buckets.append("hard"), "rl.buckets", "given no tasks"),
    "unknown bucket": (
        lambda s: (
            s.rl.buckets.extend(["cold", "hot"]),
            spoil("final", inputs={"model": "cold", "tasks": "pairs"})(s),
        ),
        "rl.buckets",
        "no bucket 'hot'",
    ),
    "cell of the suite": (lambda s: s.suite.cells.append("odd"), "suite.cells", "no cell 'odd'"),
}


@pytest.mark.parametrize(("change", "where", "what"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_found_once_and_names_its_place(study: Study, change: Change, where: str, what: str) -> None:
    change(study)
    with pytest.raises(UserError) as caught:
        plan(study, TEST_KINDS)
    (fault,) = caught.value.faults
    assert fault.where == where
    assert what in fault.what
    assert fault.fix


def test_all_faults_are_found_together(study: Study) -> None:
    spoil("pairs", kind="konstruct")(study)
    spoil("final", inputs={"model": "cald"})(study)
    study.suite.cells.append("odd")
    study.reward = None
    study.recipe.stages["a"] = StageSpec(kind="evaluate", inputs={"model": "b"})
    study.recipe.stages["b"] = StageSpec(kind="rl", inputs={"model": "b"})
    with pytest.raises(UserError) as caught:
        plan(study, TEST_KINDS)
    assert {fault.where for fault in caught.value.faults} == {
        "recipe.stages.pairs.kind",
        "recipe.stages.final.inputs.model",
        "suite.cells",
        "recipe.stages.zero",
        "recipe.stages.final",
        "recipe.stages.b",
        "recipe.stages",
    }


def test_what_cannot_be_read_is_no_second_fault(study: Study) -> None:
    """The faults of the options themselves are found elsewhere."""
    study.recipe.stages["final"].changes = {"rl": {"steps": 7}}
    study.data, study.coldstart, study.rl = Faulty(), DPOOptions(), Faulty()
    assert find_faults(study, TEST_KINDS) == []


@pytest.mark.parametrize("spec", [{"model": "base"}, {"model": "base", "data": "zero"}, {"model": "base", "data": "x"}])
def test_a_wrong_input_is_one_fault_whatever_would_not_fit_as_well(study: Study, spec: dict[str, str]) -> None:
    study.coldstart, study.data = DPOOptions(), SelfDistill(rejected_form="none")
    spoil("cold", inputs=spec)(study)
    assert len(find_faults(study, TEST_KINDS)) == 1


def test_without_a_cold_start_it_does_not_matter_what_the_data_lack(study: Study) -> None:
    study.coldstart, study.data = NoColdStart(), SelfDistill(rejected_form="none")
    assert find_faults(study, TEST_KINDS) == []


def test_a_misspelt_name_is_answered_by_the_nearest_one(study: Study) -> None:
    spoil("final", inputs={"model": "cald"})(study)
    with pytest.raises(UserError, match="did you mean 'cold'"):
        plan(study, TEST_KINDS)


# --- the kinds themselves ---


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_inputs_of_a_kind_are_made_by_some_kind(kind: StageKind) -> None:
    wanted = {made for name in kind.inputs for made in kind.accepts(name)}
    assert wanted <= {other.makes for other in KINDS.values()}
    assert kind.optional <= set(kind.inputs)


def test_the_trainer_and_the_logger_are_read_by_no_kind() -> None:
    assert not {role for kind in KINDS.values() for role in kind.reads} & {"trainer", "logger", "paths", "seed"}
