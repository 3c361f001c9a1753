"""A composer."""

from collections.abc import Iterator

import pytest

from specs_lab.cli.composition import Composer, composer


@pytest.fixture
def known() -> Iterator[Composer]:
    with composer() as made:
        yield made
