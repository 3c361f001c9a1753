"""The look that all figures of the project share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

# Okabe and Ito's palette, which people of all kinds of colour vision can tell apart, darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, FAINT = "#333333", "#8a8a8a"
DPI = 120
WIDTH_INCHES = 12.0
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.9,
    "lines.markersize": 4,
    "legend.frameon": False,
    "svg.hashsalt": "specs_lab",
    "svg.fonttype": "path",
}


@contextmanager
def own_style() -> Generator[None]:
    """The project's settings of matplotlib, whatever the user's are; those come back afterwards."""
    import matplotlib

    settings: Any = matplotlib  # its own types are partial
    own = {**settings.rcParamsDefault, **_STYLE, "backend": settings.rcParams["backend"]}
    with settings.rc_context(own):
        yield
