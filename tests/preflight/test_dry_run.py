from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from specs_lab.preflight.dry_run import dry_run
from specs_lab.preflight.findings import Finding
from specs_lab.stages.context import Study


def _run(study: Study) -> dict[str, Finding]:
    tasks = [study.problems.draw_mixed(["id"], "dry run", index) for index in range(2)]
    return {finding.check: finding for finding in dry_run(study, tasks)}


def test_two_steps_of_each_kind_of_training_are_taken_and_dropped(study: Callable[..., Study], own_store: Path):
    found = _run(study())
    assert list(found) == ["dry run: coldstart", "dry run: rl"]
    for finding in found.values():
        assert finding.level == "ok", finding.what
        assert len(finding.figures["grad_norm"]) == 2
        assert min(finding.figures["grad_norm"]) > 0
        assert finding.figures["peak_of_process_bytes"] > 0
    assert list(own_store.iterdir()) == []


def test_only_what_the_recipe_trains_is_tried(study: Callable[..., Study]):
    assert list(_run(study("recipe=zero", "adapter=lora"))) == ["dry run: rl"]


def test_a_step_that_fails_is_a_fault_and_ends_nothing(
    study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, own_store: Path
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("specs_lab.training.grpo.GRPOModule.train_step", fail)
    found = _run(study("coldstart=sft"))
    assert found["dry run: coldstart"].level == "ok"
    assert found["dry run: rl"].level == "fault"
    assert "RuntimeError: out of luck" in found["dry run: rl"].what
    assert list(own_store.iterdir()) == []


def test_weights_that_are_not_finite_are_found(study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch):
    from specs_lab.objectives.terms import Loss
    from specs_lab.training import cold_start

    sound = cold_start.sft_loss

    def broken(*arguments: object) -> Loss:
        loss = sound(*arguments)  # type: ignore[arg-type]
        return Loss([replace(term, total=term.total * float("nan")) for term in loss.terms], loss.metrics)

    monkeypatch.setattr(cold_start, "sft_loss", broken)
    found = _run(study("recipe=cold_only", "coldstart=sft"))["dry run: coldstart"]
    assert found.level == "fault"
    assert "the loss is nan" in found.what
