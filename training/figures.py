"""How every figure looks: readable at 700 px, and equal data give equal files.

Colours are those of Okabe and Ito (2008), which the colour-blind tell apart; markers differ too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "D", "^", "v", "P")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.fonttype": "path",
    # Names of SVG elements come from this salt: equal results give equal files.
    "svg.hashsalt": "sandwiching",
}


def save(figure: Figure, file: Path) -> None:
    """Write SVG (or PNG, by the suffix), without a date."""
    metadata = {"Date": None} if file.suffix == ".svg" else None
    with mpl.rc_context(STYLE):
        figure.savefig(file, dpi=100, metadata=metadata)
