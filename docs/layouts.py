"""Draws layouts.png: where each system keeps the rows of an LSTM layer of 3 units.

    python docs/layouts.py
"""
from matplotlib.patches import Rectangle

import pictures

from rnnlm.functions.gates import GATES
from rnnlm.interchange import d2l, keras, nstep, onnx, pytorch, textbook, torch7

UNITS = 3
FILLS = dict(zip('aifo', pictures.SHADES))

# Title, gates in their order, and how they are kept.
LAYOUTS = [
    ('L.LSTM\n(4n, in)', GATES, 'interleaved'),
    ('PyTorch\n(4n, in)', pytorch.ORDER, 'blocks'),
    ('char-rnn\n(4n, in)', torch7.ORDER, 'blocks'),
    ('ONNX\n(4n, in)', onnx.ORDER, 'blocks'),
    ('NStepLSTM\n4 × (n, in)', nstep.ORDER, 'apart'),
    ('LstmParam\n4 × (n, in + n)', textbook.ORDER, 'apart'),
    ('Keras\n(in, 4n)', keras.ORDER, 'columns'),
    ('d2l\n4 × (in, n)', d2l.ORDER, 'columns apart')]


def main():
    with pictures.new_figure(height=5.6) as figure:
        upright, lying = LAYOUTS[:6], LAYOUTS[6:]
        parts = figure.subfigures(2, 1, height_ratios=[3.2, 1])
        for part, layouts in zip(parts, (upright, lying)):
            for axes, layout in zip(part.subplots(1, len(layouts)), layouts):
                draw(axes, *layout)
        pictures.save(figure, 'layouts.png')


def draw(axes, title, order, kind):
    """One matrix, or four: a bar for each row, or column, of a unit."""
    bars = [(gate, unit) for gate in order for unit in range(UNITS)]
    if kind == 'interleaved':
        bars = [(gate, unit) for unit in range(UNITS) for gate in order]
    for k, (gate, unit) in enumerate(bars):
        at = k + (0.6 * (k // UNITS) if 'apart' in kind else 0)
        place = dict(xy=(0, at), width=5, height=1)
        if 'columns' in kind:
            place = dict(xy=(at, 0), width=1, height=2.2)
        patch = axes.add_patch(Rectangle(
            **place, facecolor=FILLS[gate], edgecolor=pictures.INK, linewidth=0.6))
        axes.annotate(f'{gate}{unit + 1}', patch.get_center(), ha='center', va='center',
                      fontsize=10, color='white' if gate == 'o' else pictures.INK)
    axes.set_title(title, fontsize=10, fontweight='normal', loc='center')
    axes.autoscale_view()
    axes.margins(0.01)
    axes.set_axis_off()
    if 'columns' not in kind:
        axes.invert_yaxis()


if __name__ == '__main__':
    main()
