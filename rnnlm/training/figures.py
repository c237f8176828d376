"""Common style of the figures of runs, benchmarks and docs.

Text is readable at the width of a README page, lines differ in style and marker as well
as in colour, and the background is white even on a dark page.  Needs matplotlib.
"""
from __future__ import annotations

import contextlib
import io
import math
from typing import Any, Iterator, List, Sequence

import numpy

# Text; lines that are not data; the grid.
INK, GREY, GRID = '#1f2328', '#6b7280', '#e2e5e9'

# Colours of series.  In grey they differ too: BLUE is dark, ORANGE between, SAND light.
BLUE, ORANGE, SKY, SAND = '#0b4f8a', '#d9730d', '#7fb2dd', '#f3cf9b'

WIDTH = 6.8  # inches, of a picture as wide as the page
DPI = 200
COLOURS = 64  # of the palette of a file

# First digits of the ticks of a logarithmic axis, from narrow to wide axes.
_DIGITS: Sequence[Sequence[float]] = (
    *([1 + k * step for k in range(round(9 / step))]
      for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)),
    (1, 1.2, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), range(1, 10), (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5), (1, 3), (1,))

STYLE: Any = {
    'font.family': 'DejaVu Sans', 'font.size': 11, 'axes.titlesize': 12,
    'axes.titleweight': 'bold', 'axes.titlelocation': 'left', 'axes.titlepad': 10,
    'axes.labelsize': 11, 'xtick.labelsize': 10.5, 'ytick.labelsize': 10.5,
    'legend.fontsize': 10.5, 'legend.frameon': False, 'legend.handlelength': 2.6,
    'text.color': INK, 'axes.labelcolor': INK, 'axes.edgecolor': GREY,
    'xtick.color': GREY, 'ytick.color': GREY, 'xtick.labelcolor': INK,
    'ytick.labelcolor': INK, 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'axes.axisbelow': True, 'grid.color': GRID,
    'grid.linewidth': 0.8, 'lines.linewidth': 2, 'lines.markersize': 6,
    'figure.constrained_layout.w_pad': 0.08, 'figure.constrained_layout.h_pad': 0.08,
    'hatch.linewidth': 1.0, 'figure.facecolor': 'white', 'axes.facecolor': 'white'}


@contextlib.contextmanager
def new_figure(height: float, width: float = WIDTH) -> Iterator[Any]:
    """Yields an empty figure, with the common style active in the context.

    Args:
        height, width: Size in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # Not in a user's style, which may need LaTeX for one.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
        FigureCanvasAgg(figure)
        yield figure


def png(figure: Any) -> bytes:
    """Returns a figure as a PNG file with a palette and without a date.

    The same figure gives the same bytes, with the same matplotlib.
    """
    from PIL import Image

    figure.canvas.draw()
    image: Any = Image.fromarray(numpy.asarray(figure.canvas.buffer_rgba()))
    file = io.BytesIO()
    image.convert('RGB').quantize(COLOURS, dither=0).save(file, 'PNG', optimize=True)
    return file.getvalue()


def log_axis(axes: Any, which: str) -> None:
    """Makes an axis logarithmic, with at most 8 ticks labelled by plain numbers.

    Must be called after everything is plotted.

    Args:
        axes: The axes.
        which: 'x' or 'y'.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = {'x': axes.xaxis, 'y': axes.yaxis}[which]
    axes.set(**{f'{which}scale': 'log'})
    axis.set_major_locator(FixedLocator(log_ticks(*axis.get_view_interval())))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def log_ticks(low: float, high: float, most: int = 8) -> List[float]:
    """Returns round numbers between two limits, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: List[float] = []
    for digits in _DIGITS:
        found = [digit * 10.0 ** k for k in decades for digit in digits
                 if low <= digit * 10.0 ** k <= high]
        if len(found) <= most:
            break
    return found[::math.ceil(len(found) / most)] if len(found) > 1 else [low, high]


def plain(value: float) -> str:
    """Formats a number for readers: 0.5, 20, 3,000, 10 M."""
    for unit, name in ((1e9, ' G'), (1e6, ' M')):
        if value >= unit:
            return f'{value / unit:g}{name}'
    return f'{value:,.0f}' if value >= 1000 else f'{value:g}'
