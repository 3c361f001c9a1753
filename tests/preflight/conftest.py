"""Studies to look at, composed as the command line does."""

from collections.abc import Callable

import pytest

from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of
from specs_lab.stages.context import Study


@pytest.fixture
def study() -> Callable[..., Study]:
    def compose(*overrides: str) -> Study:
        with composer() as known:
            return study_of(known.compose(["experiment=smoke", *overrides]))

    return compose
