"""Writes the GPU section of RESULTS.md, for gpu.py."""
from common import machine_line, number, picture, table

LABELS = {
    'official': 'Chainer, step by step',
    'functions': 'rnnlm, no graph',
    'persistent functions': 'rnnlm, no graph, persistent kernels',
    'graph': 'rnnlm, graph, two launches per step',
    'persistent': 'rnnlm, graph, persistent kernels',
    'graph tf32': 'rnnlm, graph, two launches per step, TF32',
    'persistent tf32': 'rnnlm, graph, persistent kernels, TF32',
    'torch': 'PyTorch (cuDNN), eager',
    'torch graph': 'PyTorch (cuDNN), graph',
    'torch tf32': 'PyTorch (cuDNN), eager, TF32',
    'torch graph tf32': 'PyTorch (cuDNN), graph, TF32'}
LAYERS = 2

# Targets: (text, size, suffix of the system, compared with, least ratio, strictly).
# 'The same' is the target before with another suffix.
BARS = [
    ('medium: at least 20 times Chainer, step by step', 'medium', '', 'official',
     20, False),
    ('medium: at least 1.5 times PyTorch, eager', 'medium', '', 'torch', 1.5, False),
    ('the same in TF32', 'medium', ' tf32', 'torch', 1.5, False),
    ('medium: more than PyTorch as a graph', 'medium', '', 'torch graph', 1, True),
    ('the same in TF32', 'medium', ' tf32', 'torch graph', 1, True),
    ('large: at least as fast as PyTorch, eager', 'large', '', 'torch', 1, False),
    ('the same in TF32', 'large', ' tf32', 'torch', 1, False),
    ('large: at least as fast as PyTorch as a graph', 'large', '', 'torch graph', 1,
     False),
    ('the same in TF32', 'large', ' tf32', 'torch graph', 1, False)]
EPOCH_BAR = 'medium: an epoch of the Penn Treebank in float32 under 3 seconds', 3.0


def part(result):
    """Returns the section with everything that was measured."""
    out = ['## On a GPU', '',
           picture('gpu.png', 'Words per second on a GPU of rnnlm, PyTorch and Chainer '
                   'at three sizes'), '']
    if 'machine' in result:
        out += machine(result['machine'])
    if result.get('added'):
        out += ['Measured in a later run, by `--sizes SIZE --add`: '
                f'{", ".join(result["added"])}.', '']
    for name, why in result['failed'].items():
        out += [f'The part `{name}` is not complete: {why}.', '']
    for name, write in (('tests', tests), ('same', same), ('training', training),
                        ('kernels', kernels), ('epoch', epoch), ('memory', memory),
                        ('mixed', mixed)):
        if name in result:
            out += write(result)
    return '\n'.join(out + bars(result))


def machine(row):
    versions = ', '.join(f'{k} {v}' for k, v in row['versions'].items() if v)
    rates = row.get('sgemm FLOP/s', {})
    return [
        f'{row["gpu"]}, driver {row["driver"]}, CUDA {row["CUDA"]}; {versions}. By '
        f'`python benchmarks/gpu.py`; host: {machine_line(row["host"])}. 2 layers, '
        'vocabulary 10,000, batch size 20, SGD with clipping, carried state, the sizes '
        'of Zaremba et al. (2014); windows are sent from the host. Medians over '
        'several rounds, in which all systems take turns; ratios are medians of the '
        'ratios in each round.', '', table(
            ['limit', 'measured'],
            [['copy on the device, GB/s read and written',
              number(row.get('copy B/s') and row['copy B/s'] / 1e9)],
             *([f'matrix product 8192 x 8192, {name}, TFLOP/s', number(rate / 1e12, 1)]
               for name, rate in rates.items())])] + (
        [] if row.get('TF32 changes products by', 1) else
        ['TF32 had no effect on our products: its figures are those of float32.', ''])


def tests(result):
    row = result['tests']
    if 'skipped' in row and 'status' not in row:
        return [f'The tests did not run: {row["skipped"]}.', '']
    return [f'Tests that need a GPU: {row["passed"]} passed, {row["failed"]} failed, '
            f'{row["errors"]} errors, {row["skipped"]} skipped (status '
            f'{row["status"]}).', '']


def same(result):
    sizes = result['same']['sizes']
    rows = []
    for name, label in LABELS.items():
        cells = [of_size.get(name, {}) for of_size in sizes.values()]
        if any(cells):
            rows.append([label, *(
                f'WRONG: {c["error"]}' if 'error' in c
                else f'{c["worst"]:.0e}' if c else '' for c in cells)])
    replays = [c['replay'] for of_size in sizes.values() for c in of_size.values()
               if 'replay' in c]
    return ['### Agreement of loss and gradients', '',
            'Largest relative error |a - b| / |b| of the loss and of a parameter\'s '
            'gradient, from the same weights, compared with float64 on the CPU. The '
            'large size is not compared.', '',
            table(['', *sizes], rows)] + (
        ['Over 50 successive windows, the losses with and without a graph agree to '
         f'{max(replays):.0e}.', ''] if replays else [])


def flops(size):
    """Returns the FLOP of the matrix products of a window."""
    from gpu_models import SIZES
    from models import flops_per_word
    s = SIZES[size]
    return s['T'] * s['B'] * flops_per_word(s['n'], s['V'])


def traffic(size):
    """Returns the bytes of a window if the L2 cache kept nothing; see `FORMULA`."""
    from gpu_models import SIZES
    s = SIZES[size]
    rows, n, V = s['T'] * s['B'], s['n'], s['V']
    parameters = LAYERS * (8 * n * n + 4 * n) + n * V + V + rows * n
    return 4 * (7 * parameters + 5 * rows * V + 49 * LAYERS * rows * n)


FORMULA = (
    'The table compares the time per window with two estimates of the least time. '
    'Arithmetic: the '
    'operations of the matrix products, divided by the measured rate of such products '
    '(the better of ours and PyTorch\'s). Bytes: 4 (7 P + 5 R V + 49 L R n), divided '
    'by the measured rate of copies, for P parameters (of the embedding only the rows '
    'of words in the window; each is read in the forward pass, in the backward pass '
    'and by the update, its gradient is written once and read twice, and the parameter '
    'is written), R = 20 T rows of V logits (written; read and written by the softmax; '
    'read by two products) and 49 elements per row and unit in each of L layers. This '
    'assumes that nothing stays in the L2 cache, so it is too high for the small size. '
    'Ratio: the measured time divided by the larger bound.')


def floors(result, size, tf32):
    """Returns the lower bounds in seconds, by arithmetic and by bytes, or None."""
    row = result.get('machine', {})
    rates = row.get('sgemm FLOP/s', {})
    rate = max((rates.get(f'{way}{" tf32" if tf32 else ""}', 0)
                for way in ('ours', 'torch')), default=0)
    copy = row.get('copy B/s')
    return rate and flops(size) / rate or None, copy and traffic(size) / copy or None


def training(result):
    rows = result['training']
    sizes = [size for size in rows if 'words/s' in rows[size]]
    ways = [name for name in LABELS
            if any(name in rows[size]['words/s'] for size in sizes)]

    def per(name, key, scale, digits):
        return [number(scale(size, rows[size][key][name]), digits)
                if name in rows[size].get(key, {}) else '' for size in sizes]

    def seconds(size, speed):
        return 1e3 * words(size) / speed

    out = ['### Training', '', 'Words per second:', '',
           table(['', *sizes], [[LABELS[name], *per(name, 'words/s', _same, 0)]
                                for name in ways]),
           'Milliseconds per window, and for the launch of a graph alone:', '',
           table(['', *sizes],
                 [[LABELS[name], *per(name, 'words/s', seconds, 3)] for name in ways]
                 + [[f'{LABELS[name]}, device only',
                     *per(name, 'device seconds', lambda size, s: 1e3 * s, 3)]
                    for name in ways if any(name in rows[size].get('device seconds', ())
                                            for size in sizes)])]
    pairs = dict.fromkeys(pair for size in sizes for pair in rows[size]['ratios'])
    out += ['Speedups:', '', table(
        ['', *sizes], [[' / '.join(LABELS[way] for way in pair.split(' / ')),
                        *per(pair, 'ratios', _same, 2)] for pair in pairs])]
    lines = []
    for tf32 in '', ' tf32':
        both = [floors(result, size, tf32) for size in sizes]
        label = 'TF32' if tf32 else 'float32'
        for k, what in enumerate(('arithmetic', 'bytes')):
            lines.append([f'{label}: bound by {what}, ms',
                          *(number(f[k] and 1e3 * f[k], 3) for f in both)])
        for name in ways:
            if ('tf32' in name) == bool(tf32) and name != 'official':
                lines.append([f'ratio of {LABELS[name]}', *(
                    number(words(size) / rows[size]['words/s'][name] / max(f), 2)
                    if name in rows[size]['words/s'] and all(f) else ''
                    for size, f in zip(sizes, both))])
    out += [FORMULA, '', table(['', *sizes], lines)]
    for size, row in rows.items():
        for name, why in {**row['missing'], **row['failed']}.items():
            out += [f'- {size}: not measured: {LABELS[name]}: {why}']
    return out + ['']


def words(size):
    from gpu_models import SIZES
    return SIZES[size]['T'] * SIZES[size]['B']


def _same(size, value):
    return value


def kernels(result):
    out = ['### A single layer', '',
           'Microseconds between two events for all steps of a window, and TFLOP/s; '
           'GB/s if the weights and each array are moved once. Without a graph, short '
           'kernels wait for the host, whose time is then measured. "Layer" includes '
           'the products with the input, as cuDNN\'s layer does.', '']
    for size, rows in result['kernels'].items():
        def cell(row, what):
            if what not in row:
                return ''
            rate = row['rates'][what]
            more = f', {rate["B/s"] / 1e9:,.0f} GB/s' if 'B/s' in rate else ''
            return f'{1e6 * row[what]:,.1f} ({rate["FLOP/s"] / 1e12:.1f}{more})'

        columns = 'forward', 'backward', 'layer forward', 'layer'
        out += [table(
            [size, 'steps forward', 'steps backward', 'layer forward', 'layer, both'],
            [[name, *((cell(row, what) for what in columns) if 'error' not in row
                      else (row['error'], '', '', ''))]
             for name, row in rows.items()])]
    return out


def epoch(result):
    row = result['epoch']
    return [f'### An epoch, {row["size"]}', '',
            f'{row["words"]:,} words, {row["what"]}, with Chainer\'s Trainer, timed by '
            'its LogReport. The first epoch includes compilation and recording.', '',
            table(['', 'first, s', 'second, s'],
                  [[LABELS[name], number(s['first'], 2), number(s['second'], 2)]
                   for name, s in row['seconds'].items()])]


def memory(result):
    row = result['memory']
    large = row.get('large vocabulary')

    def cell(value):
        return value if isinstance(value, str) else number(value)

    return [f'### Memory, {row["size"]}, MiB', '',
            'Memory reserved by CuPy\'s pool or PyTorch\'s allocator, and the peak of '
            'the memory in use, which only PyTorch reports.', '',
            table(['', 'reserved', 'in use'],
                  [[LABELS[name], cell(value), cell(row['held in it MiB'].get(name))]
                   for name, value in row['MiB'].items()])] + (
        [f'With a vocabulary of {large["V"]:,}: {cell(large["MiB"])}.', '']
        if large else [])


def mixed(result):
    row = result['mixed']
    if 'not available' in row:
        return [f'Mixed precision: not available: {row["not available"]}.', '']
    return [f'Mixed precision (`chainer.mixed16`), {row["size"]}: '
            f'{1e3 * row["seconds"]:.3f} ms per window, {row["how"]}.', '']


def bars(result):
    """Returns a table of the targets, the measured ratios, and whether they are met."""
    lines = []
    for text, size, how, other, least, strictly in BARS:
        ratios = result.get('training', {}).get(size, {}).get('ratios', {})
        # If the persistent kernels do not fit, the graph is used without them.
        value = next((ratios[pair] for way in ('persistent', 'graph') if (
            pair := f'{way}{how} / {other}{how if other != "official" else ""}'
        ) in ratios), None)
        met = None if value is None else (
            value > least if strictly else value >= least)
        lines.append([text, number(value, 2), _met(met)])
    text, most = EPOCH_BAR
    row = result.get('epoch', {})
    seconds = row.get('seconds', {}).get('persistent', {}).get('second')
    if row.get('size') != 'medium':
        seconds = None
    lines.append([text, number(seconds, 2),
                  _met(None if seconds is None else seconds < most)])
    return ['### Targets', '', table(['target', 'measured', 'met'], lines)]


def _met(met):
    return 'not measured' if met is None else 'yes' if met else 'no'
