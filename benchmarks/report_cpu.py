"""The CPU part of RESULTS.md, by cpu.py."""
import compiled
from common import machine_line, number, picture, replace, table
import report_pictures

LABELS = {'official': 'Chainer, word by word', 'per step': 'rnnlm, word by word',
          'window': 'rnnlm, by window', 'fast': 'rnnlm, by window, `fast`',
          'torch': 'PyTorch, eager', 'torch bfloat16': 'PyTorch, eager, bfloat16',
          'torch compiled': 'PyTorch, torch.compile',
          'torch, like lengths': 'PyTorch, eager, batches of like lengths'}
TITLES = {'scoring': '### Scores of sentences of 5 to 40 words, batches of 32, medium',
          'generation': '### Generation, a word at a time, medium'}


def write(result):
    """The CPU part and its picture, by cpu.py."""
    replace('CPU', 'cpu.py', part(result))
    if 'training' in result:
        report_pictures.draw(report_pictures.cpu, result)


def part(result):
    ways = result['ways']
    out = ['## On a CPU', '', f'{machine_line(result["machine"])}. '
           'By `python benchmarks/cpu.py`: medians, all ways in turns in one run; '
           'ratios are medians of the ratios of each turn. 2 layers, vocabulary '
           '10,000, batch 20, float32, SGD with clipping; the sizes of Zaremba et al. '
           '(2014).', '']
    if 'training' in result:
        rows = result['training']
        trained = [way for way in LABELS if any(way in r['words/s'] for r in rows)]
        out += ['### Training, words a second', '', picture(
            'cpu.png', 'Bars of the training speed of each program at three sizes, as '
            'a share of peak SGEMM speed'), '', table(
            ['', *(f'{r["size"]} ({r["units"]} units)' for r in rows)],
            [[LABELS[way], *(number(r['words/s'].get(way)) for r in rows)]
             for way in trained]
            + [['at peak SGEMM speed', *(number(r['floor words/s']) for r in rows)],
               ['peak SGEMM, GFLOP/s', *(number(r['sgemm GFLOP/s']) for r in rows)]])]
        pairs = [pair for pair in rows[0]['ratios']
                 if any(r['ratios'][pair] for r in rows)]
        out += ['How many times as fast:', '', table(
            ['', *(r['size'] for r in rows)],
            [[f'{LABELS[a]} / {LABELS[b]}',
              *(number(r['ratios'][f'{a} / {b}'], 2) for r in rows)]
             for a, b in (pair.split(' / ') for pair in pairs)]
            + [[f'{LABELS[way]} / peak SGEMM speed',
                *(f'{100 * r["words/s"][way] / r["floor words/s"]:.0f}%' for r in rows)]
               for way in ways if way in ('window', 'fast', 'torch')]
            + [[f'peak SGEMM speed / {LABELS[way]}',
                *(number(r['floor words/s'] / r['words/s'][way], 2) for r in rows)]
               for way in ways if way in ('official', 'torch')])]
        out += ['At peak SGEMM speed a program would do nothing but the matrix '
                'products, as fast as a large one. Chainer runs here with the patches '
                'of `import rnnlm`, without which it does not run at all; one of them, '
                'which keeps its softmax in float32, makes it 1.2 times as fast at '
                'medium size.', '',
                *agreement(rows), '']
        if all(r['pieces'] for r in rows):
            out += ['Where the time of a window goes with `fast`, in ms, and in'
                    ' brackets at peak SGEMM speed:', '', in_pieces(rows), '']
        if 'compile' in result:
            out += [compiling(result['compile'], rows), '']
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
    for name, title in TITLES.items():
        if name in result:
            row = result[name]
            out += [title, '', table(['', 'words/s'], [
                [LABELS[use], number(value)] for use, value in row['words/s'].items()]),
                table(['', 'times as fast'], [
                    [' / '.join(LABELS[use] for use in pair.split(' / ')),
                     number(value, 2)] for pair, value in row['ratios'].items()])]
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


def in_pieces(rows):
    """A table of the pieces of a window."""
    def cell(row, name):
        floor = row['floors'].get(name)
        found = number(row['pieces'].get(name, 0.0), 1)
        return found if floor is None else f'{found} ({number(floor, 1)})'

    names = dict.fromkeys(name for row in rows for name in row['pieces'])
    return table(['', *(row['size'] for row in rows)],
                 [[name, *(cell(row, name) for row in rows)] for name in names])


def agreement(rows):
    """To what the ways agree: those in float32, and bfloat16."""
    def worst(is_meant):
        return max((value for r in rows for way, value in r['same to'].items()
                    if is_meant(way)), default=None)

    yield ('Loss and gradients of all ways in float32, from the same weights, agree to '
           f'{worst(lambda way: "bfloat16" not in way):.0e} of the largest element; '
           'more than 1e-04 would have ended the measurement.')
    rounded = worst(lambda way: 'bfloat16' in way)
    if rounded is not None:
        yield (f'Those of PyTorch in bfloat16 agree with them to {rounded:.0e}; there '
               'the limit is 2e-02.')


def compiling(found, rows):
    """What torch.compile does here, and what it takes."""
    took = {r['size']: r['compile seconds'] for r in rows if r['compile seconds']}
    return ' '.join([compiled.sentence(found), *(
        f'At size {size} it took {seconds:.0f} seconds to compile, before the clock '
        'ran.' for size, seconds in took.items())] + (
        ['The other sizes, with longer windows, were left out for that.']
        if took and len(took) < len(rows) else []))
