"""Writes the CPU section of RESULTS.md, for cpu.py, and its picture in docs/."""
import os

import compiled
from common import HERE, machine_line, number, replace, table

PICTURE = os.path.join(HERE, os.pardir, 'docs', 'cpu.png')
LABELS = {'official': 'Chainer, step by step', 'per step': 'rnnlm, step by step',
          'window': 'rnnlm, fused', 'fast': 'rnnlm, fused, `fast`',
          'torch': 'PyTorch, eager', 'torch bfloat16': 'PyTorch, eager, bfloat16',
          'torch compiled': 'PyTorch, torch.compile',
          'torch, like lengths': 'PyTorch, eager, batches of similar lengths'}
TITLES = {'scoring': '### Scoring sentences of 5 to 40 words, batches of 32, medium',
          'generation': '### Generation, one word at a time, medium'}


def write(result):
    """Writes the CPU section, and draws its picture."""
    replace('CPU', 'cpu.py', part(result))
    if 'training' in result:
        draw(result)


def part(result):
    ways = result['ways']
    out = ['## On a CPU', '', f'{machine_line(result["machine"])}. '
           'By `python benchmarks/cpu.py`: medians over several rounds, in which all '
           'systems take turns; ratios are medians of the ratios in each round. 2 '
           'layers, vocabulary 10,000, batch size 20, float32, SGD with clipping, the '
           'sizes of Zaremba et al. (2014). "Fused" computes a whole window at once; '
           '`fast` is the extra with compiled kernels.', '']
    if 'training' in result:
        rows = result['training']
        trained = [way for way in LABELS if any(way in r['words/s'] for r in rows)]
        out += ['### Training, words per second', '', table(
            ['', *(f'{r["size"]} ({r["units"]} units)' for r in rows)],
            [[LABELS[way], *(number(r['words/s'].get(way)) for r in rows)]
             for way in trained]
            + [['limit set by sgemm', *(number(r['floor words/s']) for r in rows)],
               ['sgemm, GFLOP/s', *(number(r['sgemm GFLOP/s']) for r in rows)]])]
        pairs = [pair for pair in rows[0]['ratios']
                 if any(r['ratios'][pair] for r in rows)]
        out += ['Speedups:', '', table(
            ['', *(r['size'] for r in rows)],
            [[f'{LABELS[a]} / {LABELS[b]}',
              *(number(r['ratios'][f'{a} / {b}'], 2) for r in rows)]
             for a, b in (pair.split(' / ') for pair in pairs)]
            + [[f'{LABELS[way]} / limit set by sgemm',
                *(f'{100 * r["words/s"][way] / r["floor words/s"]:.0f}%' for r in rows)]
               for way in ways if way in ('window', 'fast', 'torch')]
            + [[f'limit set by sgemm / {LABELS[way]}',
                *(number(r['floor words/s'] / r['words/s'][way], 2) for r in rows)]
               for way in ways if way in ('official', 'torch')])]
        out += ['The last rows are the highest speedups that any program using this '
                'sgemm could reach. Chainer is measured with the patches of `import '
                'rnnlm`, because it does not run without them. One of them, which '
                'keeps the softmax in float32, makes it 1.2 times as fast at medium '
                'size.', '', *agreement(rows), '']
        if all(r['pieces'] for r in rows):
            out += ['Time of each part of a window with `fast`, in ms; in parentheses '
                    'the time that sgemm would need:', '', in_pieces(rows), '']
        if 'compile' in result:
            out += [compiling(result['compile'], rows), '']
    if 'evaluation' in result:
        row = result['evaluation']
        ratios = [(pair.split(' / '), value)
                  for pair, value in row['ratios'].items() if value]
        out += ['### Evaluation, one stream in chunks of 1,000 words, medium', '',
                table(['', 'words/s'], [[LABELS[way], number(row['words/s'][way])]
                                        for way in ways]),
                table(['', 'speedup'],
                      [[f'{LABELS[a]} / {LABELS[b]}', number(value, 2)]
                       for (a, b), value in ratios]),
                f'All losses agree to {row["same to"]:.0e}.', '']
    for name, title in TITLES.items():
        if name in result:
            row = result[name]
            out += [title, '', table(['', 'words/s'], [
                [LABELS[use], number(value)] for use, value in row['words/s'].items()]),
                table(['', 'speedup'], [
                    [' / '.join(LABELS[use] for use in pair.split(' / ')),
                     number(value, 2)] for pair, value in row['ratios'].items()])]
    if 'memory MiB' in result:
        out += ['### Peak memory in training, medium, MiB above the bare process', '',
                table(['', 'MiB'], [[LABELS[way], number(result['memory MiB'][way])]
                                    for way in ways]),
                'Fused, with a vocabulary of 270,000: '
                f'{number(result["memory of 270,000 words MiB"])} MiB.', '']
    if 'growth' in result:
        out += ['### Time against each size', '',
                'Milliseconds per window; the other sizes are those of medium.', '']
        for sweep, rows in result['growth'].items():
            out += [table([sweep, *map(str, rows['values'])],
                          [[LABELS[way], *(number(v, 1) for v in values)]
                           for way, values in rows['ms'].items()])]
    return '\n'.join(out)


def in_pieces(rows):
    """Returns a table of the parts of a window."""
    def cell(row, name):
        floor = row['floors'].get(name)
        found = number(row['pieces'].get(name, 0.0), 1)
        return found if floor is None else f'{found} ({number(floor, 1)})'

    names = dict.fromkeys(name for row in rows for name in row['pieces'])
    return table(['', *(row['size'] for row in rows)],
                 [[name, *(cell(row, name) for row in rows)] for name in names])


def agreement(rows):
    """Yields how well the systems agree, in float32 and in bfloat16."""
    def worst(is_meant):
        return max((value for r in rows for way, value in r['same to'].items()
                    if is_meant(way)), default=None)

    yield ('From the same weights, loss and gradients of all systems in float32 agree '
           f'to {worst(lambda way: "bfloat16" not in way):.0e} of the largest element; '
           'a difference above 1e-04 ends the benchmark.')
    rounded = worst(lambda way: 'bfloat16' in way)
    if rounded is not None:
        yield (f'Those of PyTorch in bfloat16 agree with them to {rounded:.0e}; for '
               'these the limit is 2e-02.')


def compiling(found, rows):
    """Describes what torch.compile does, and the time that it takes."""
    took = {r['size']: r['compile seconds'] for r in rows if r['compile seconds']}
    return ' '.join([compiled.sentence(found), *(
        f'At size {size} compilation took {seconds:.0f} seconds, which are not '
        'included.' for size, seconds in took.items())] + (
        ['The other sizes have longer windows, and were not measured for that reason.']
        if took and len(took) < len(rows) else []))


def draw(result):
    """Draws the words per second, as a fraction of the limit set by sgemm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, ways = result['training'], result['ways']
    figure = Figure(figsize=(7.5, 3.4), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(ways)
    for k, way in enumerate(ways):
        shares = [100 * r['words/s'][way] / r['floor words/s'] for r in rows]
        bars = axes.bar([x + (k - (len(ways) - 1) / 2) * width
                         for x in range(len(rows))], shares, width,
                        label=LABELS[way].replace('`', ''))
        axes.bar_label(bars, [f'{r["words/s"][way]:,.0f}' for r in rows], fontsize=6.5,
                       padding=2)
    axes.set_xticks(range(len(rows)),
                    [f'{r["size"]} ({r["units"]} units)' for r in rows])
    axes.set_ylabel('% of the limit set by sgemm')
    axes.set_title('Training on a CPU, words per second', fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc='upper center',
                bbox_to_anchor=(0.5, -0.1))
    axes.set_ylim(0, 100)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.savefig(PICTURE)
