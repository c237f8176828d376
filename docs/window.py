"""Draws window.png: the order in which a window is computed, by step and as a whole.

    python docs/window.py
"""
import os

from matplotlib.patches import FancyArrowPatch, Rectangle

import pictures

PICTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'window.png')
STEPS = 6
ROWS = ('embedding', 'LSTM layer 1', 'LSTM layer 2', 'output, loss')
SHAPES = ('(T, B) -> (T, B, n)', '(T, B, n)', '(T, B, n)', '(T, B, n) -> loss')


def main():
    figure = pictures.figure(8.2, 3.7)
    left, right = figure.subplots(1, 2)
    draw(left, 'Step by step: one call per link and step', by_step)
    draw(right, 'A window: one call per layer', by_window)
    figure.savefig(PICTURE)


def draw(axes, title, cells):
    axes.set_title(title, fontsize=10)
    for k, name in enumerate(ROWS):
        axes.text(-0.15, k + 0.4, name, ha='right', va='center')
        cells(axes, k)
    for t in range(STEPS):
        axes.text(t + 0.45, -0.3, f't = {t + 1}' if t in (0, 1) else
                  ('T' if t == STEPS - 1 else '...'), ha='center', va='center')
    axes.text(STEPS / 2, -0.75, 'steps of the window, each of B words, one a stream',
              ha='center', va='center')
    axes.set_xlim(-2.1, STEPS + 0.1)
    axes.set_ylim(-1, len(ROWS) + 0.1)
    axes.set_axis_off()


def by_step(axes, k):
    """Cells numbered in the order of Chainer's calls."""
    for t in range(STEPS):
        box(axes, t, k, 0.9)
        axes.text(t + 0.45, k + 0.4, str(t * len(ROWS) + k + 1), ha='center',
                  va='center', color='white' if k == 3 else pictures.INK)
        if k in (1, 2) and t:
            arrow(axes, (t - 0.12, k + 0.15), (t + 0.04, k + 0.15))
    if k:
        for t in range(STEPS):
            arrow(axes, (t + 0.2, k - 0.22), (t + 0.2, k + 0.02))


def by_window(axes, k):
    """A bar for each layer; inside an LSTM the recurrence alone goes by step."""
    box(axes, 0, k, STEPS - 0.1)
    axes.text(0.2, k + 0.56, f'{k + 1}   {SHAPES[k]}', ha='left', va='center',
              color='white' if k == 3 else pictures.INK)
    if k in (1, 2):
        for t in range(1, STEPS):
            arrow(axes, (t - 0.55, k + 0.2), (t + 0.35, k + 0.2))
    if k:
        arrow(axes, (STEPS / 2, k - 0.22), (STEPS / 2, k + 0.02))


def box(axes, x, k, width):
    axes.add_patch(Rectangle((x, k), width, 0.8, facecolor=pictures.SHADES[k],
                             edgecolor=pictures.INK, linewidth=0.8))


def arrow(axes, start, end):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle='->', mutation_scale=8,
                                   color=pictures.ACCENT, linewidth=1.2))


if __name__ == '__main__':
    main()
