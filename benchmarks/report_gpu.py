"""The GPU part of RESULTS.md, by gpu.py."""
from common import machine_line, number, table

LABELS = {
    'official': 'Chainer, word by word',
    'functions': 'rnnlm, launches one by one',
    'persistent functions': 'rnnlm, launches one by one, persistent kernels',
    'graph': 'rnnlm, graph, two launches a step',
    'persistent': 'rnnlm, graph, persistent kernels',
    'graph tf32': 'rnnlm, graph, two launches a step, TF32',
    'persistent tf32': 'rnnlm, graph, persistent kernels, TF32',
    'persistent wave': 'rnnlm, graph, persistent kernels, 4 parts where they fit',
    'torch': 'PyTorch (cuDNN), eager',
    'torch graph': 'PyTorch (cuDNN), graph',
    'torch tf32': 'PyTorch (cuDNN), eager, TF32',
    'torch graph tf32': 'PyTorch (cuDNN), graph, TF32'}
LAYERS = 2

# What we set ourselves: (what, size, how, against which way, at least, strictly).
BARS = [
    ('medium: at least 20 times Chainer, word by word', 'medium', '', 'official',
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

CHECKED = '''\
What has been checked instead, without a GPU, by the tests:

- the CUDA sources compile, with NVRTC and with nvcc;
- each kernel is run on the host, thread by thread, in both orders of its blocks and
  threads, and gives what NumPy gives (`tests/kernels/test_cuda_*.py`);
- the sequence of launches of a window is recorded as for a CUDA graph, repeated, and
  trains as Chainer does (`tests/training/test_cuda_graph.py`);
- this benchmark runs from beginning to end at tiny sizes on a stand-in for CuPy
  (`tests/test_benchmark_gpu.py`); PyTorch runs on the CPU there, and its graph is
  recorded operation by operation.

None of that shows speed, or races that need a GPU's memory to show.'''


def unmeasured():
    """The part while nobody has had a GPU at hand."""
    bars = [*(bar[0] if not bar[0].startswith('the same')
              else f'{BARS[k - 1][0]}, in TF32' for k, bar in enumerate(BARS)),
            EPOCH_BAR[0]]
    return '\n'.join([
        '## On a GPU', '',
        'No figure has been measured on a GPU: none was at hand. On a machine that has '
        'one, `python benchmarks/gpu.py` measures and writes this part, in under nine '
        'minutes. The bars that it is to be held against, all of them unmeasured:', '',
        table(['bar', 'measured', 'met'], [[bar, '', 'unmeasured'] for bar in bars]),
        CHECKED, ''])


def part(result):
    """The part, of as much as was measured."""
    out = ['## On a GPU', '']
    if 'machine' in result:
        out += machine(result['machine'])
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
        '`python benchmarks/gpu.py`, beside a host of '
        f'{machine_line(row["host"])}: 2 layers, vocabulary 10,000, batch 20, SGD with '
        'clipping, carried state, the sizes of Zaremba et al. (2014); windows come '
        'from the host. Medians, all ways in turns; ratios are medians of the ratios '
        'of each turn.', '', table(
            ['ceiling', 'measured'],
            [['copy on the device, GB/s read and written',
              number(row.get('copy B/s') and row['copy B/s'] / 1e9)],
             *([f'product of 8192 x 8192, {name}, TFLOP/s', number(rate / 1e12, 1)]
               for name, rate in rates.items())])] + (
        [] if row.get('TF32 changes products by', 1) else
        ['TF32 changed no product of ours: its figures are those of float32.', ''])


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
    return ['### The same loss and gradients', '',
            'Worst relative error of the loss and of a parameter\'s gradient, '
            '|a - b| / |b|, from the same weights, against float64 on the CPU:', '',
            table(['', *sizes], rows)] + (
        ['The losses of 50 windows, which build on one another, of a graph and of the '
         f'same launched one by one: to {max(replays):.0e}.', ''] if replays else [])


def flops(size):
    """Of the matrix products of a window."""
    from gpu_models import SIZES
    from models import flops_per_word
    s = SIZES[size]
    return s['T'] * s['B'] * flops_per_word(s['n'], s['V'])


def traffic(size):
    """Bytes of a window as if nothing stayed in the L2 cache; see `FORMULA`."""
    from gpu_models import SIZES
    s = SIZES[size]
    rows, n, V = s['T'] * s['B'], s['n'], s['V']
    parameters = LAYERS * (8 * n * n + 4 * n) + n * V + V + rows * n
    return 4 * (7 * parameters + 5 * rows * V + 49 * LAYERS * rows * n)


FORMULA = (
    'Floors: the arithmetic of the matrix products over the measured rate of such '
    'products (the better of ours and PyTorch\'s); and bytes over the measured rate of '
    'copies: 4 (7 P + 5 R V + 49 L R n) for P parameters (of the embedding the rows '
    'that are named: read forward, backward and by the step, gradient written once and '
    'read twice, parameter written), R = 20 T rows of V logits (written, read and '
    'written by the softmax, read by two products) and 49 elements a row and unit in '
    'each layer, as if nothing stayed in the L2 cache: at the small size it does, and '
    'that floor is too high. Gap: measured over the larger floor.')


def floors(result, size, tf32):
    """(seconds by arithmetic, seconds by bytes), None where it was not measured."""
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

    out = ['### Training', '', 'Words a second:', '',
           table(['', *sizes], [[LABELS[name], *per(name, 'words/s', _same, 0)]
                                for name in ways]),
           'Milliseconds a window, and of a graph alone, without the host:', '',
           table(['', *sizes],
                 [[LABELS[name], *per(name, 'words/s', seconds, 3)] for name in ways]
                 + [[f'{LABELS[name]}, device alone',
                     *per(name, 'device seconds', lambda size, s: 1e3 * s, 3)]
                    for name in ways if any(name in rows[size].get('device seconds', ())
                                            for size in sizes)])]
    pairs = dict.fromkeys(pair for size in sizes for pair in rows[size]['ratios'])
    out += ['How many times as fast:', '', table(
        ['', *sizes], [[' / '.join(LABELS[way] for way in pair.split(' / ')),
                        *per(pair, 'ratios', _same, 2)] for pair in pairs])]
    lines = []
    for tf32 in '', ' tf32':
        both = [floors(result, size, tf32) for size in sizes]
        label = 'TF32' if tf32 else 'float32'
        for k, what in enumerate(('arithmetic', 'bytes')):
            lines.append([f'{label}: floor by {what}, ms',
                          *(number(f[k] and 1e3 * f[k], 3) for f in both)])
        for name in ways:
            if ('tf32' in name) == bool(tf32) and name != 'official':
                lines.append([f'gap of {LABELS[name]}', *(
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
    out = ['### A layer by itself', '',
           'Microseconds between two events for all steps of a window, and TFLOP/s; '
           'GB/s as if the weights and each array moved once. Without a graph, short '
           'kernels wait for the host, and its time is what is seen. The layer has its '
           'products with the input too, as that of cuDNN has.', '']
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
            f'{row["words"]:,} words, {row["what"]}, through Chainer\'s Trainer, by '
            'its LogReport; the first has the compiler and the recording in it.', '',
            table(['', 'first, s', 'second, s'],
                  [[LABELS[name], number(s['first'], 2), number(s['second'], 2)]
                   for name, s in row['seconds'].items()])]


def memory(result):
    row = result['memory']
    large = row.get('large vocabulary')

    def cell(value):
        return value if isinstance(value, str) else number(value)

    return [f'### Memory, {row["size"]}, MiB', '',
            'What CuPy\'s pool or PyTorch\'s allocator has taken from the device, and '
            'the most of it that was in use, which only PyTorch knows.', '',
            table(['', 'taken', 'in use'],
                  [[LABELS[name], cell(value), cell(row['held in it MiB'].get(name))]
                   for name, value in row['MiB'].items()])] + (
        [f'With a vocabulary of {large["V"]:,}: {cell(large["MiB"])}.', '']
        if large else [])


def mixed(result):
    row = result['mixed']
    if 'not available' in row:
        return [f'Mixed precision: not available: {row["not available"]}.', '']
    return [f'Mixed precision (`chainer.mixed16`), {row["size"]}: '
            f'{1e3 * row["seconds"]:.3f} ms a window, {row["how"]}.', '']


def bars(result):
    """The bars, what was measured, and whether each was met."""
    lines = []
    for text, size, how, other, least, strictly in BARS:
        ratios = result.get('training', {}).get(size, {}).get('ratios', {})
        # Where the persistent kernels do not fit, the graph goes without them.
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
    return ['### The bars that we set ourselves', '',
            table(['bar', 'measured', 'met'], lines)]


def _met(met):
    return 'unmeasured' if met is None else 'yes' if met else 'no'
