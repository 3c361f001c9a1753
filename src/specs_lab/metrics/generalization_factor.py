"""The Generalization Factor of SPECS (arXiv 2510.25801): a weighted harmonic mean of ID and OOD performance.

``GF = (1 + b^2) * G_ID * G_OOD / (b^2 * G_ID + G_OOD)``, b = 2, which weights OOD b^2 times as much as ID. The text of
the paper defines G as the *gain over the base model*; its curves fit *raw* percentages. Both are offered here, and
every number the suite reports says which one it is. GF is homogeneous of degree 1: shares in, a share out; percent in,
percent out.

Degenerate cases:
    - both G are zero, or one of them is: GF is 0 (for both, where the formula reads 0/0, by definition);
    - one G is negative (only gains can be): GF is undefined, NaN. It is never clipped: the suite reports the negative
      gain itself beside it, and :func:`undefined_because` says why.
"""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BETA = 2.0


@overload
def generalization_factor(id: float, ood: float, beta: float = ...) -> float: ...
@overload
def generalization_factor(id: Floats, ood: Floats | float, beta: float = ...) -> Floats: ...
@overload
def generalization_factor(id: float, ood: Floats, beta: float = ...) -> Floats: ...
def generalization_factor(id: Any, ood: Any, beta: float = BETA) -> Any:
    """The Generalization Factor of raw performances, or of gains.

    Args:
        id: Performance in distribution, a number or an array; shares or percent.
        ood: Performance out of distribution, in the same unit; shapes broadcast.
        beta: How much OOD matters; ``beta^2`` is its weight relative to ID.

    Returns:
        GF in the unit of the inputs; a float for floats. NaN where an input is negative or NaN.

    Raises:
        ValueError: If ``beta`` is not positive.
    """
    return _factor(id, ood, beta)


def _factor(id: Any, ood: Any, beta: float) -> Any:
    if not beta > 0:
        raise ValueError(f"beta is {beta}, but must be positive")
    inside, outside = np.broadcast_arrays(np.asarray(id, dtype=np.float64), np.asarray(ood, dtype=np.float64))
    weight = beta * beta
    defined = (inside >= 0) & (outside >= 0)
    denominator = weight * inside + outside
    positive = defined & (denominator > 0)
    # Dividing before multiplying keeps denormal inputs from underflowing in the product.
    share = np.divide(inside, denominator, out=np.zeros(inside.shape), where=positive)
    factor = np.where(defined, (1 + weight) * share * np.where(defined, outside, 0.0), np.nan)
    return float(factor) if np.ndim(id) == 0 and np.ndim(ood) == 0 else factor


@overload
def gain_generalization_factor(id: float, ood: float, base_id: float, base_ood: float, beta: float = ...) -> float: ...
@overload
def gain_generalization_factor(
    id: Floats, ood: Floats, base_id: Floats | float, base_ood: Floats | float, beta: float = ...
) -> Floats: ...
def gain_generalization_factor(id: Any, ood: Any, base_id: Any, base_ood: Any, beta: float = BETA) -> Any:
    """The Generalization Factor of gains over the base model, as the text of arXiv 2510.25801 defines it.

    Args:
        id: Performance in distribution.
        ood: Performance out of distribution.
        base_id: The base model's performance in distribution.
        base_ood: The base model's performance out of distribution.
        beta: How much OOD matters.

    Returns:
        GF of the two gains; NaN where one of them is negative, see :func:`undefined_because`.
    """
    return _factor(np.subtract(id, base_id), np.subtract(ood, base_ood), beta)


def undefined_because(id: float, ood: float) -> str | None:
    """Why the Generalization Factor of two performances or gains is NaN; None if it is not.

    Args:
        id: Performance or gain in distribution.
        ood: Performance or gain out of distribution.
    """
    reasons: list[str] = []
    for name, value in (("ID", id), ("OOD", ood)):
        if math.isnan(value):
            reasons.append(f"{name} is not measured")
        elif value < 0:
            reasons.append(f"{name} is negative ({value:+.4g})")
    return " and ".join(reasons) or None
