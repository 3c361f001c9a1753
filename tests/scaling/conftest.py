from collections.abc import Callable

import pytest

from specs_lab.preflight.loads import Setup
from specs_lab.preflight.needs import Prompts
from specs_lab.scaling.architectures import shape_of_repo
from specs_lab.scaling.loads import Asked, StageLoad


@pytest.fixture(scope="session")
def rl_load() -> Callable[..., StageLoad]:
    """RL as in SPECS: 128 prompts, 8 responses to each, 7B."""

    def make(size: str = "7B", **changes: object) -> StageLoad:
        shape = shape_of_repo(f"Qwen/Qwen2.5-VL-{size}-Instruct")
        assert shape is not None
        settings = {
            "name": "final",
            "kind": "rl",
            "method": "grpo",
            "shape": shape,
            "setup": Setup(device="cuda", half=True, checkpointing=True),
            "prompts": Prompts(tokens=1408, patches=5120),
            "steps": 800,
            "batch": 128,
            "branches": 8,
            "most": 10240,
        }
        return StageLoad(**{**settings, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def evaluation_load(rl_load: Callable[..., StageLoad]) -> StageLoad:
    asked = (Asked(prompts=756, group=1, most=10240),)
    return rl_load(name="evaluate", kind="evaluate", method="", steps=0, batch=0, branches=1, asked=asked)
