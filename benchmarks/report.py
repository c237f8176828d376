"""Writes what was measured into RESULTS.md, and pictures of it into docs/."""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, 'RESULTS.md')
PICTURE = os.path.join(HERE, os.pardir, 'docs', 'cpu.png')
LABELS = {'official': 'Chainer, word by word', 'per step': 'rnnlm, word by word',
          'window': 'rnnlm, by window', 'fast': 'rnnlm, by window, `fast`',
          'torch': 'PyTorch, eager'}


def write(result):
    """The CPU part, by cpu.py."""
    replace('CPU', 'cpu.py', part(result))
    if 'training' in result:
        draw(result)


def replace(name, script, content, path=RESULTS):
    """Puts `content` in the place of a part of RESULTS.md, or at its end.

    Args:
        path (str): Another file, that has the part.
    """
    begin, end = f'<!-- {name}: written by {script} -->', f'<!-- end of {name} -->'
    text = '# Results\n'
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            text = f.read()
    if begin not in text:
        text += f'\n{begin}\n{end}\n'
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        f.write(before + begin + '\n\n' + content + '\n' + end + after)


def keep(path, results):
    """Writes what a script has measured so far, as JSON; whole or not at all."""
    with open(f'{path}.new', 'w', encoding='utf-8', newline='\n') as f:
        json.dump(results, f, indent=1)
        f.write('\n')
    os.replace(f'{path}.new', path)


def kept(path):
    """What `keep` wrote; {} if it wrote nothing yet."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def table(head, rows):
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def number(value, digits=0):
    return '' if value is None else f'{value:,.{digits}f}'


def part(result):
    machine = result['machine']
    versions = ', '.join(f'{name} {version}' for name, version in
                         machine['versions'].items() if version)
    ways = result['ways']
    out = ['## On a CPU', '',
           f'{machine["cpu"]}, {machine["cores"]} cores; {versions}. '
           'By `python benchmarks/cpu.py`: medians, all ways in turns in one run; '
           'ratios are medians of the ratios of each turn. 2 layers, vocabulary '
           '10,000, batch 20, float32, SGD with clipping; the sizes of Zaremba et al. '
           '(2014).', '']
    if 'training' in result:
        rows = result['training']
        out += ['### Training, words a second', '', table(
            ['', *(f'{r["size"]} ({r["units"]} units)' for r in rows)],
            [[LABELS[way], *(number(r['words/s'][way]) for r in rows)]
             for way in ways]
            + [['what sgemm would allow', *(number(r['floor words/s']) for r in rows)],
               ['sgemm, GFLOP/s', *(number(r['sgemm GFLOP/s']) for r in rows)]])]
        pairs = [pair for pair in rows[0]['ratios'] if rows[0]['ratios'][pair]]
        out += ['How many times as fast:', '', table(
            ['', *(r['size'] for r in rows)],
            [[f'{LABELS[a]} / {LABELS[b]}',
              *(number(r['ratios'][f'{a} / {b}'], 2) for r in rows)]
             for a, b in (pair.split(' / ') for pair in pairs)]
            + [[f'{LABELS[way]} / what sgemm would allow',
                *(f'{100 * r["words/s"][way] / r["floor words/s"]:.0f}%' for r in rows)]
               for way in ways if way in ('window', 'fast', 'torch')]
            + [[f'what sgemm would allow / {LABELS[way]}',
                *(number(r['floor words/s'] / r['words/s'][way], 2) for r in rows)]
               for way in ways if way in ('official', 'torch')])]
        worst = max(r['same to'] for r in rows)
        out += ['The last rows are the most that any program built on this sgemm could '
                'reach. Chainer runs here with the patches of `import rnnlm`, '
                'without which it does not run at all; one of them, which keeps its '
                'softmax in float32, makes it 1.2 times as fast at medium size.', '',
                f'Loss and gradients of all ways from the same weights agree to '
                f'{worst:.0e} of the largest element.', '']
    if 'evaluation' in result:
        row = result['evaluation']
        ratios = [(pair.split(' / '), value)
                  for pair, value in row['ratios'].items() if value]
        out += ['### Evaluation, one stream in chunks of 1,000 words, medium', '',
                table(['', 'words/s'], [[LABELS[way], number(row['words/s'][way])]
                                        for way in ways]),
                table(['', 'times as fast'],
                      [[f'{LABELS[a]} / {LABELS[b]}', number(value, 2)]
                       for (a, b), value in ratios]),
                f'All give the same number to {row["same to"]:.0e}.', '']
    if 'memory MiB' in result:
        out += ['### Peak memory of training, medium, MiB above the bare process', '',
                table(['', 'MiB'], [[LABELS[way], number(result['memory MiB'][way])]
                                    for way in ways]),
                'With a vocabulary of 270,000, by window: '
                f'{number(result["memory of 270,000 words MiB"])} MiB.', '']
    if 'growth' in result:
        out += ['### How the time grows', '',
                'Milliseconds a window, the other sizes being those of medium.', '']
        for sweep, rows in result['growth'].items():
            out += [table([sweep, *map(str, rows['values'])],
                          [[LABELS[way], *(number(v, 1) for v in values)]
                           for way, values in rows['ms'].items()])]
    return '\n'.join(out)


def draw(result):
    """Bars of the words a second, in parts of what sgemm would allow."""
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
    axes.set_ylabel('% of what sgemm would allow')
    axes.set_title('Training on a CPU; the numbers are words a second', fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc='upper center',
                bbox_to_anchor=(0.5, -0.1))
    axes.set_ylim(0, 100)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.savefig(PICTURE)
