"""Look of the pictures in docs/: those of the docs' scripts and of the benchmarks.

Colours, sizes and fonts are those of `rnnlm.training.figures`, as in the picture that
`rnnlm train` draws.  Here are the looks of each program, and the saving.
"""
import os

import rnnlm  # noqa: F401  before matplotlib's NumPy, as everywhere
from rnnlm.training import figures
from rnnlm.training.figures import (  # noqa: F401  for those who import this
    BLUE, GREY, INK, ORANGE, SAND, SKY, WIDTH, log_axis, new_figure)

FOLDER = os.path.dirname(os.path.abspath(__file__))

# Fillings of areas, from light to dark; in grey they still differ.
SHADES = '#f7f3e8', '#c9dcec', '#8fb3d1', '#4a7ba6'

# Bars of the programs: colour and hatch.
BARS = {
    'rnnlm': dict(facecolor=BLUE, edgecolor=BLUE),
    'rnnlm, NumPy only': dict(facecolor=SKY, edgecolor=BLUE, hatch='//'),
    'Chainer': dict(facecolor='white', edgecolor=GREY, hatch='..'),
    'PyTorch, float32': dict(facecolor=ORANGE, edgecolor=ORANGE),
    'PyTorch, bfloat16': dict(facecolor=SAND, edgecolor=ORANGE, hatch='\\\\'),
    'PyTorch, compiled': dict(facecolor='white', edgecolor=ORANGE, hatch='xx'),
    'rnnlm, TF32': dict(facecolor=SKY, edgecolor=BLUE, hatch='//'),
    'PyTorch, TF32': dict(facecolor=SAND, edgecolor=ORANGE, hatch='\\\\')}

# Lines of several series of one kind, in their order.
LINES = (
    dict(color=BLUE, linestyle='-', marker='o'),
    dict(color=ORANGE, linestyle='--', marker='s'),
    dict(color='#1f8a7a', linestyle='-.', marker='^'),
    dict(color=SKY, linestyle='-', marker='D'),
    dict(color='#8a4b08', linestyle=(0, (5, 1, 1, 1)), marker='v'),
    dict(color=INK, linestyle=':', marker='P'))

# A limit, or what another source says.
REFERENCE = dict(color=GREY, linestyle='--', linewidth=1.5, zorder=1)

# Behind text that crosses lines.
ON_WHITE = dict(facecolor='white', edgecolor='none', pad=1)


def save(figure, name):
    """Writes a figure into docs/; only if it has changed, so that dates stay."""
    path, data = os.path.join(FOLDER, name), figures.png(figure)
    if os.path.exists(path):
        with open(path, 'rb') as f:
            if f.read() == data:
                return
    with open(path, 'wb') as f:
        f.write(data)
    print(f'drawn: docs/{name}')


def beside(axes, lines, text='paper, {}: {:g}', gap=0.05):
    """Labels horizontal lines on the right of a logarithmic y axis, none on another.

    Args:
        lines (list): (value, name) of each.
        text (str): Format of name and value.
        gap (float): Least distance of two labels, in parts of the axis.
    """
    to_part = axes.yaxis.get_transform().transform
    low, high = to_part(axes.get_ylim())
    least = 0.0
    for value, name in sorted(lines):
        part = (to_part([value])[0] - low) / (high - low)
        at = max(part, least)
        axes.annotate(text.format(name, value), (1, part), (1.02, at),
                      xycoords='axes fraction', va='center', fontsize='small')
        least = at + gap


def framed(axes, grid='y'):
    """Leaves the grid lines of one axis only."""
    axes.grid(False)
    axes.grid(True, axis=grid)
