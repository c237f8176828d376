"""Draws window.png: the order in which a window is computed, by step and as a whole.

    python docs/window.py
"""
from matplotlib.patches import FancyArrowPatch, Rectangle

import pictures

STEPS = 6
WIDTH, HEIGHT = 0.7, 0.68  # of a box; the rest is for the arrows
ROWS = 'embedding', 'LSTM layer 1', 'LSTM layer 2', 'output, loss'
SHAPES = '(T, B) → (T, B, n)', '(T, B, n)', '(T, B, n)', '(T, B, n) → loss'


def main():
    with pictures.new_figure(height=6.6) as figure:
        upper, lower = figure.subplots(2, 1)
        draw(upper, 'Step by step: one call per layer and step', by_step)
        draw(lower, 'Fused: one call per layer', by_window)
        lower.text(STEPS / 2, -0.85, 'steps of the window, each of B words',
                   ha='center', va='center')
        pictures.save(figure, 'window.png')


def draw(axes, title, cells):
    axes.set_title(title, x=0.02)
    for k, name in enumerate(ROWS):
        axes.text(-0.15, k + HEIGHT / 2, name, ha='right', va='center')
        cells(axes, k)
    for t in range(STEPS):
        axes.text(t + WIDTH / 2, -0.3, f't = {t + 1}' if t in (0, 1) else
                  ('t = T' if t == STEPS - 1 else '…'), ha='center', va='center')
    axes.set_xlim(-1.75, STEPS)
    axes.set_ylim(-1.05, len(ROWS) - 0.2)
    axes.set_axis_off()


def by_step(axes, k):
    """Cells numbered in the order of Chainer's calls."""
    for t in range(STEPS):
        box(axes, t, k, WIDTH)
        axes.text(t + WIDTH / 2, k + HEIGHT / 2, str(t * len(ROWS) + k + 1),
                  ha='center', va='center', color=text_colour(k))
        if k in (1, 2) and t:
            arrow(axes, (t - 1 + WIDTH, k + HEIGHT / 2), (t, k + HEIGHT / 2))
        if k:
            arrow(axes, (t + WIDTH / 2, k - 1 + HEIGHT), (t + WIDTH / 2, k))


def by_window(axes, k):
    """A bar for each layer; inside an LSTM the recurrence alone goes by step."""
    box(axes, 0, k, STEPS - 1 + WIDTH)
    axes.text(0.15, k + (0.44 if k in (1, 2) else HEIGHT / 2),
              f'{k + 1}    {SHAPES[k]}', ha='left', va='center', color=text_colour(k))
    if k in (1, 2):
        for t in range(1, STEPS):
            arrow(axes, (t - 0.6, k + 0.14), (t + 0.3, k + 0.14))
    if k:
        arrow(axes, (STEPS / 2, k - 1 + HEIGHT), (STEPS / 2, k))


def text_colour(k):
    return 'white' if k == len(ROWS) - 1 else pictures.INK


def box(axes, x, k, width):
    axes.add_patch(Rectangle((x, k), width, HEIGHT, facecolor=pictures.SHADES[k],
                             edgecolor=pictures.INK, linewidth=1))


def arrow(axes, start, end):
    axes.add_patch(FancyArrowPatch(
        start, end, arrowstyle='-|>', mutation_scale=9, color=pictures.INK,
        linewidth=1.2, shrinkA=0, shrinkB=0))


if __name__ == '__main__':
    main()
