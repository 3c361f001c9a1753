"""The stages that are killed: small ones of every kind, each with the inputs that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD = """# @package _global_
defaults:
  - /schema/recipe@recipe: recipe
  - _self_

recipe:
  stages:
"""
_SMALL = ("model=tiny", "suite=quick", "experiment=smoke", "logger=none", "hydra.run.dir=out", "trainer.preflight=off")
_STEPS = ("trainer.checkpoint_every_s=0", "trainer.micro_batch_tokens=512", "trainer.sample_batch_size=8")
_LORA = ("adapter=lora", "adapter.dropout=0.1")
_BASE = "base: {kind: base}"
_PAIRS = "pairs: {kind: construct, inputs: {self: base, base: base}}"
_COLD = "target: {kind: coldstart, inputs: {model: base, data: pairs}}"
_LEARN = ("coldstart.steps=5", "coldstart.eval_every=2", "data.pairs=8", "suite.n=3", *_STEPS)
_GRPO = ("rl.steps=5", "rl.prompts_per_step=2", "rl.group_size=4", "rl.lr=1e-3", *_STEPS)


@dataclass(frozen=True)
class Case:
    """One stage to kill, called ``target`` in its recipe.

    Attributes:
        name: Its name.
        kind: The stage's kind.
        stages: The recipe, the stage and those that it needs.
        options: What else the command line says.
        trains: Whether it writes checkpoints.
    """

    name: str
    kind: str
    stages: tuple[str, ...]
    options: tuple[str, ...] = ()
    trains: bool = False

    def write(self, folder: Path) -> None:
        """Writes the recipe where ``--config-dir`` finds it."""
        (folder / "recipe").mkdir(parents=True, exist_ok=True)
        text = _HEAD + "".join(f"    {line}\n" for line in self.stages)
        (folder / "recipe" / f"soak_{self.name}.yaml").write_text(text, encoding="utf-8")

    def argv(self, folder: Path) -> list[str]:
        """The command line, for a recipe that was written to a folder."""
        if self.kind == "pretrain":
            return [*self.options, "logger=none", "hydra.run.dir=out", "trainer.preflight=off"]
        return [f"--config-dir={folder}", f"recipe=soak_{self.name}", *_SMALL, *self.options]


def _cold(name: str, method: str, *options: str) -> Case:
    chosen = (f"coldstart={method}", *options, *_LEARN)
    return Case(name, "coldstart", (_BASE, _PAIRS, _COLD), chosen, trains=True)


CASES = (
    Case("base", "base", ("target: {kind: base}",)),
    Case("rl", "rl", (_BASE, "target: {kind: rl, inputs: {model: base}}"), _GRPO, trains=True),
    Case(
        "rl_lora",
        "rl",
        (_BASE, "target: {kind: rl, inputs: {model: base}}"),
        (*_GRPO, *_LORA, "rl.kl_weight=0.05", "rl.inner_updates=2"),
        trains=True,
    ),
    Case(
        "construct",
        "construct",
        (_BASE, _PAIRS.replace("pairs", "target", 1)),
        ("data.pairs=24", "trainer.sample_batch_size=8"),
    ),
    _cold("sft", "sft"),
    _cold("dpo", "dpo"),
    _cold("hybrid_lora", "hybrid", *_LORA),
    Case(
        "select",
        "select",
        (_BASE, "target: {kind: select, inputs: {model: base}}"),
        ("select.tasks=80", "trainer.sample_batch_size=32"),
    ),
    Case(
        "explore",
        "explore",
        (_BASE, "target: {kind: explore, inputs: {model: base}}"),
        ("exploration.n=9", "exploration.samples=8", "trainer.sample_batch_size=16"),
    ),
    Case(
        "evaluate",
        "evaluate",
        (_BASE, "target: {kind: evaluate, inputs: {model: base}}"),
        ("suite.n=18", "trainer.sample_batch_size=16"),
    ),
    Case(
        "pretrain",
        "pretrain",
        ("pretrain: {kind: pretrain}",),
        (
            *("experiment=pretrain", "pretrain=tiny", "suite=quick", "suite.n=2", "pretrain.tokenizer_texts=200"),
            *("pretrain.vision.steps=6", "pretrain.language.steps=6", "pretrain.evaluation_problems=2"),
            *("pretrain.vision.batch_size=8", "pretrain.language.batch_size=8", "trainer.checkpoint_every_s=0"),
        ),
        trains=True,
    ),
)


def chosen(names: str | None, cases: Sequence[Case] = CASES) -> list[Case]:
    """The cases of a comma-separated list of their names or kinds; all without one.

    Raises:
        SystemExit: If there is none of a name.
    """
    if names is None:
        return list(cases)
    wanted = names.split(",")
    unknown = [name for name in wanted if not any(name in (case.name, case.kind) for case in cases)]
    if unknown:
        raise SystemExit(f"there is no stage {unknown[0]}; there are {', '.join(case.name for case in cases)}")
    return [case for case in cases if case.name in wanted or case.kind in wanted]
