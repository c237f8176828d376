"""Draws layouts.png: where each system keeps the rows of an LSTM layer of 3 units.

    python docs/layouts.py
"""
import os

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnlm.functions.gates import GATES
from rnnlm.interchange import d2l, keras, nstep, onnx, pytorch, textbook, torch7

PICTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'layouts.png')
UNITS = 3
COLOURS = {'a': '#f2b56b', 'i': '#8fc1e3', 'f': '#9fd3a5', 'o': '#d9a6c9'}

# Title, gates in their order, and how they are kept.
LAYOUTS = [
    ('Chainer L.LSTM\n(4n, in)', GATES, 'interleaved'),
    ('PyTorch\n(4n, in)', pytorch.ORDER, 'blocks'),
    ('char-rnn\n(4n, in)', torch7.ORDER, 'blocks'),
    ('ONNX\n(4n, in)', onnx.ORDER, 'blocks'),
    ('NStepLSTM\n4 of (n, in)', nstep.ORDER, 'apart'),
    ('LstmParam\n4 of (n, in + n)', textbook.ORDER, 'apart'),
    ('Keras\n(in, 4n)', keras.ORDER, 'columns'),
    ('d2l\n4 of (in, n)', d2l.ORDER, 'columns apart')]


def main():
    figure = Figure(figsize=(9.5, 4.6), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    upright, lying = LAYOUTS[:6], LAYOUTS[6:]
    parts = figure.subfigures(2, 1, height_ratios=[2.6, 1])
    for part, layouts in zip(parts, (upright, lying)):
        for axes, layout in zip(part.subplots(1, len(layouts)), layouts):
            draw(axes, *layout)
    figure.savefig(PICTURE)


def draw(axes, title, order, kind):
    """One matrix, or four: a coloured bar for each row, or column, of a unit."""
    bars = [(gate, unit) for gate in order for unit in range(UNITS)]
    if kind == 'interleaved':
        bars = [(gate, unit) for unit in range(UNITS) for gate in order]
    for k, (gate, unit) in enumerate(bars):
        at = k + (0.6 * (k // UNITS) if 'apart' in kind else 0)
        place = dict(xy=(0, at), width=5, height=0.92)
        if 'columns' in kind:
            place = dict(xy=(at, 0), width=0.92, height=2.2)
        patch = axes.add_patch(Rectangle(
            **place, color=COLOURS[gate]))
        axes.annotate(f'{gate}{unit + 1}', patch.get_center(), ha='center', va='center',
                      fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.autoscale_view()
    axes.set_axis_off()
    if 'columns' not in kind:
        axes.invert_yaxis()


if __name__ == '__main__':
    main()
