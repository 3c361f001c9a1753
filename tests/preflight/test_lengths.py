from collections.abc import Callable

import pytest

from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.preflight.lengths import Encoder, check_lengths
from specs_lab.preflight.needs import Prompts
from specs_lab.preflight.shapes import shape_of_folder
from specs_lab.preflight.uses import Use
from specs_lab.stages.context import Study

MODEL = EmbeddedModel(size="tiny")
USE = Use("rl", 1, lambda: iter(()), 48)


def test_prompts_are_counted_without_weights(study: Callable[..., Study]):
    problems = study().problems
    tasks = [problems.draw_mixed(["id"], "lengths", index) for index in range(6)]
    found = Encoder(MODEL).longest(tasks)
    assert found.patches == 64
    assert 16 < found.tokens < 120
    assert found.counted
    one = Encoder(MODEL).longest(tasks[:1])
    assert one.tokens <= found.tokens


@pytest.mark.parametrize(
    ("tokens", "limit", "level"), [(60, 2048, "ok"), (60, 100, "warning"), (480, 2048, "warning"), (512, 2048, "fault")]
)
def test_what_is_too_long(study: Callable[..., Study], tokens: int, limit: int, level: str):
    chosen = study(f"trainer.micro_batch_tokens={limit}")
    found = {"rl": (USE, Prompts(tokens=tokens, patches=64, counted=True))}
    (finding,) = check_lengths(chosen, found, shape_of_folder(MODEL.folder))
    assert finding.level == level
    if tokens == 60 and level == "warning":
        assert finding.fix == "set trainer.micro_batch_tokens to at least 108"
