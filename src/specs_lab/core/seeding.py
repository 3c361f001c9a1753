"""Random numbers that depend on names, not on the order in which things happen."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all parts and on nothing else.

    The same parts give the same seed in every process and on every platform (unlike ``hash``).

    Args:
        parts: Names and numbers; compared by their ``str``.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def python_rng(*parts: object) -> random.Random:
    """A :class:`random.Random` seeded by :func:`derive_seed`."""
    return random.Random(derive_seed(*parts))


def numpy_rng(*parts: object) -> np.random.Generator:
    """A NumPy Philox generator seeded by :func:`derive_seed`."""
    return np.random.Generator(np.random.Philox(derive_seed(*parts)))
