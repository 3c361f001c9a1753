"""Evaluations along a training are shown where they take long."""

from types import SimpleNamespace

import pytest

from specs_lab.core.progress import Progress
from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.stages.curve import CurveCallback, Measurements
from specs_lab.training.base import TrainingModule


class Slow:
    """Says how much it may sample."""

    tasks = ("a", "b", "c")

    def __init__(self, most_tokens: int) -> None:
        self.most_tokens = most_tokens

    def __call__(self, vlm, report, **_):
        report(2)
        report(1)
        return []


@pytest.mark.parametrize(("tokens", "shown"), [(2_000_000, True), (30_000, False)])
def test_a_long_evaluation_has_a_line_of_its_own(tmp_path, monkeypatch, tokens, shown):
    monkeypatch.setattr("specs_lab.stages.curve.log_evaluation", lambda *_, **__: None)
    suite, events = CellsSuite(cells=["id", "ood"]), []
    module = TrainingModule.__new__(TrainingModule)
    module.__dict__.update(vlm=None, budget=None, _modules={}, _parameters={}, _buffers={})
    with Measurements(tmp_path, suite) as measurements:
        context = SimpleNamespace(name="cold", progress=Progress(events.append), work=tmp_path / "work")
        curve = CurveCallback(Slow(tokens), measurements, 5, suite, context)
        curve.on_train_start(SimpleNamespace(loggers=[]), module)
    done = [(event["event"], event["task"], event.get("done")) for event in events]
    name = "cold: evaluation at step 0"
    assert done == ([("start", name, None), ("advance", name, 2), ("advance", name, 3), ("end", name, None)] * shown)
