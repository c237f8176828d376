"""Writes the CPU section of RESULTS.md, for cpu.py."""
import compiled
from common import machine_line, number, picture, replace, table
import report_pictures

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
        report_pictures.draw(report_pictures.cpu, result)


def part(result):
    ways = result['ways']
    out = ['## On a CPU', '', f'{machine_line(result["machine"])}. '
           'By `python benchmarks/cpu.py`: medians over several rounds, in which all '
           'systems take turns, each with an untimed call first; ratios are medians of '
           'the ratios in each round. 2 '
           'layers, vocabulary 10,000, batch size 20, float32, SGD with clipping, the '
           'sizes of Zaremba et al. (2014). "Fused" computes a whole window at once; '
           '`fast` is the extra with compiled kernels.', '']
    if 'training' in result:
        rows = result['training']
        trained = [way for way in LABELS if any(way in r['words/s'] for r in rows)]
        out += ['### Training, words per second', '', picture(
            'cpu.png', 'Bars of the training speed of each program at three sizes, as '
            'a fraction of peak SGEMM speed'), '', table(
            ['', *(f'{r["size"]} ({r["units"]} units)' for r in rows)],
            [[LABELS[way], *(number(r['words/s'].get(way)) for r in rows)]
             for way in trained]
            + [['at peak SGEMM speed', *(number(r['floor words/s']) for r in rows)],
               ['peak SGEMM, GFLOP/s', *(number(r['sgemm GFLOP/s']) for r in rows)]])]
        pairs = [pair for pair in rows[0]['ratios']
                 if any(r['ratios'][pair] for r in rows)]
        out += ['Speedups:', '', table(
            ['', *(r['size'] for r in rows)],
            [[f'{LABELS[a]} / {LABELS[b]}',
              *(number(r['ratios'][f'{a} / {b}'], 2) for r in rows)]
             for a, b in (pair.split(' / ') for pair in pairs)]
            + [[f'{LABELS[way]} / peak SGEMM speed',
                *(f'{100 * r["shares"][way]:.0f}%' for r in rows)]
               for way in ways if way in ('window', 'fast', 'torch')]
            + [[f'peak SGEMM speed / {LABELS[way]}',
                *(number(1 / r["shares"][way], 2) for r in rows)]
               for way in ways if way in ('official', 'torch')])]
        out += ['At peak SGEMM speed a program would do nothing but the matrix '
                'products, at the speed of a large one: the last rows are the speedups '
                'of such a program. Single products can be slightly faster. Chainer is '
                'measured with the patches of `import rnnlm`, because it does not run '
                'without them. One of them, which keeps the softmax in float32, makes '
                'it 1.2 times as fast at medium size.', '', *agreement(rows), '']
        if all(r['pieces'] for r in rows):
            out += ['Time of each part of a window with `fast`, in ms; in parentheses '
                    'the time at peak SGEMM speed:', '',
                    in_pieces({row['size']: row for row in rows}), '']
        if 'compile' in result:
            out += [compiling(result['compile'], rows), '']
    if 'evaluation' in result:
        row = result['evaluation']
        ratios = [(pair.split(' / '), value)
                  for pair, value in row['ratios'].items() if value]
        out += ['### Evaluation, one stream in windows of 1,000 words, medium', '',
                table(['', 'words/s'], [[LABELS[way], number(row['words/s'][way])]
                                        for way in ways] + bound(row)),
                table(['', 'speedup'],
                      [[f'{LABELS[a]} / {LABELS[b]}', number(value, 2)]
                       for (a, b), value in ratios]),
                f'All losses agree to {row["same to"]:.0e}.', '']
    for name, title in TITLES.items():
        if name in result:
            row = result[name]
            out += [title, '', table(['', 'words/s'], [
                [LABELS[use], number(value)] for use, value in row['words/s'].items()]
                + bound(row)),
                table(['', 'speedup'], [
                    [' / '.join(LABELS[use] for use in pair.split(' / ')),
                     number(value, 2)] for pair, value in row['ratios'].items()])]
    rows = {name: result[name] for name in ('evaluation', *TITLES)
            if result.get(name, {}).get('pieces')}
    if rows:
        out += ['### Time of each part of a word with `fast`, in microseconds', '',
                'In parentheses, an estimate of the least time. For products it '
                'assumes peak SGEMM speed. For the steps of evaluation and for '
                'generation it is the time to read the weights (in generation, all of '
                'them) at the measured read speed.',
                '', in_pieces(rows), '']
    if 'memory MiB' in result:
        out += ['### Peak memory in training, medium, MiB above the bare process', '',
                table(['', 'MiB'], [[LABELS[way], number(result['memory MiB'][way])]
                                    for way in ways]), '']
    if 'growth' in result:
        out += ['### Time against each size', '',
                'Milliseconds per window; the other sizes are those of medium.', '']
        for sweep, rows in result['growth'].items():
            out += [table([sweep, *map(str, rows['values'])],
                          [[LABELS[way], *(number(v, 1) for v in values)]
                           for way, values in rows['ms'].items()])]
    return '\n'.join(out)


def bound(row):
    """Returns the row of a table with the bound of the words per second."""
    floor = row.get('floor words/s')
    return [['bound by arithmetic and memory', number(floor)]] if floor else []


def in_pieces(rows):
    """Returns a table of the parts of a window or a word, a column for each row."""
    def cell(row, name):
        floor = row['floors'].get(name)
        found = number(row['pieces'].get(name), 1)
        return found if floor is None else f'{found} ({number(floor, 1)})'

    names = dict.fromkeys(name for row in rows.values() for name in row['pieces'])
    return table(['', *rows], [
        [name, *(cell(row, name) for row in rows.values())] for name in names])


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
        ['The other sizes were not measured: their windows are longer, and compilation '
         'takes longer.']
        if took and len(took) < len(rows) else []))
