"""What a study is, which job it is run as, and what the runner of each of its stages is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from specs_lab.core.progress import Progress
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.rollout.options.inprocess import InProcessRollout
from specs_lab.stages.options.recipe import Paths, Recipe
from specs_lab.stages.store import WORK, Store

_NOT_READ = ("seed", "recipe", "paths", "trainer", "logger", "extra")
"""Fields of a study that play no role in a stage."""


@dataclass(kw_only=True)
class Study:
    """The composed configuration: a recipe, and the options that its stages read. Nodes nobody reads may be None.

    Attributes:
        seed: Of everything random but the problems and the base models.
        recipe: The stages.
        paths: Where things are kept.
        coldstart: Options of the cold start.
        data: Options of the pairs.
        rl: Options of the final RL.
        zero: Options of the RL that makes the zero model.
        rollout: Who samples the responses of RL.
        reward: What RL rewards.
        judge: Who judges open answers.
        model: The base model.
        adapter: What of a model learns.
        problems: Where problems come from.
        suite: What is measured.
        exploration: How exploration is measured.
        pretrain: Options of pretraining a base model.
        teacher_model: Another model, for constructions that ask one.
        select: How problems are sorted by difficulty.
        trainer: Hardware; never enters keys.
        logger: Loggers; never enters keys.
        extra: Further nodes by name, for recipes that need more than one of a group.
    """

    seed: int = 0
    recipe: Recipe
    paths: Paths
    coldstart: Any = None
    data: Any = None
    rl: Any = None
    zero: Any = None
    rollout: Any = field(default_factory=InProcessRollout)
    reward: Any = None
    judge: Any = None
    model: Any = None
    adapter: Any = field(default_factory=FullAdapter)
    problems: Any = None
    suite: Any = None
    exploration: Any = None
    pretrain: Any = None
    teacher_model: Any = None
    select: Any = None
    trainer: Any = None
    logger: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Mapping[str, Any]) -> Study:
        """The study of a composed config, as {node name: options object}; unknown nodes become ``extra``."""
        own = {f.name for f in fields(cls)} - {"extra"}
        extra = {name: node for name, node in nodes.items() if name not in own}
        return cls(**{name: node for name, node in nodes.items() if name in own}, extra=extra)

    def nodes(self) -> dict[str, Any]:
        """The options objects that stages may read, by the name of their config node."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_READ}
        return {name: node for name, node in {**self.extra, **own}.items() if is_dataclass(node)}


@dataclass
class Faulty:
    """Stands for options with faults where stages are checked, so that they do not count as missing too."""


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """One run of a study: alone, or as a part of a sweep.

    Attributes:
        folder: The job's output folder.
        name: Names the study, e.g. in W&B.
        job: Number within its sweep.
        overrides: The overrides that the job was started with.
        arm: The swept overrides but the seed, for people, e.g. ``"sft lr=0.001"``; jobs that differ in the seed only
            have the same one.
    """

    folder: Path
    name: str = "study"
    job: int = 0
    overrides: list[str] = field(default_factory=list)
    arm: str = ""


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What a runner, ``def run(context: StageContext) -> None``, is given; it writes its results into ``folder``.

    Attributes:
        name: Name of the stage in the recipe. For people: it is not in the key, so results must not depend on it.
        kind: Name of the stage's kind.
        key: The stage's key.
        folder: An empty folder, which becomes the stage's artifact when the runner returns.
        work: What an interrupted runner has left for the one that goes on, e.g. checkpoints; empty at first, no part of
            the artifact.
        inputs: The artifact folder of each input.
        options: The options by role, and always the ``trainer``'s.
        seed: The study's seed; 0 for kinds that do not depend on it.
        stream: Separates the random numbers of stages that read the same options; empty for most.
        store: The store, for intermediate results that other stages can use too.
        progress: Where progress is reported.
        loggers: Makes the Lightning loggers of this stage.
        logs: Folder, in the job's, for what users look into when the stage has failed; to be made when needed.
    """

    name: str
    kind: str
    key: str
    folder: Path
    inputs: dict[str, Path]
    options: dict[str, Any]
    seed: int
    stream: str = ""
    store: Store
    progress: Progress
    loggers: Callable[[], list[Any]]
    logs: Path | None = None

    @property
    def work(self) -> Path:
        """See above."""
        return self.folder / WORK
