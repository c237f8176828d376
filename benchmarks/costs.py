"""Cost model of docs/scaling.md: seconds per window with N processes."""
import math

import numpy

import common
import models

# Assumptions about GPUs; docs/scaling.md gives the sources.
GPU = {
    'flops': 0.7 * 67e12,    # float32 without tensor cores; 70% of the peak
    'step': 30e-6,           # seconds per step for kernels, without arithmetic
    'memory': 0.7 * 4.8e12,  # bytes per second
    'per node': 8,
    'nvlink': (0.8 * 450e9, 10e-6),    # bytes per second and direction, s per sum
    'network': (0.8 * 50e9, 40e-6),
    'sums': 6,               # per window: output layer, two per layer, small ones
}
# Vocabulary and batch of what is measured.
V, B = 10000, 20
BATCHES = 20, 64, 320, 1280, 5120


def frequencies(V):
    """Returns the probability of each word (V,), by the Zipf-Mandelbrot law."""
    p = 1 / (numpy.arange(V) + 2.7)
    return p / p.sum()


def touched(V, words):
    """Returns the expected number of distinct words among `words` words."""
    return float((1 - (1 - frequencies(V)) ** words).sum())


def parameters(n, V):
    """Returns the numbers of all parameters and of those of the embedding."""
    return 2 * V * n + V + models.LAYERS * (8 * n * n + 4 * n), V * n


def traffic(n, V, T, B, N, rows=True):
    """Returns the bytes sent, and received, by each process per window (ring)."""
    everything, embedding = parameters(n, V)
    if rows:
        found = touched(V, T * B)
        if 2 * found <= V:
            everything += found * n - embedding
    return 4 * 2 * (N - 1) / N * everything


def fit(result, V, B):
    """Fits the constants of this machine.

    Returns:
        dict: 'latency' (seconds per sum), 'bandwidth' (bytes per second), and for each
        size 'window' (seconds per window that do not depend on the batch size) and
        'stream' (seconds per stream).
    """
    elements, seconds = numpy.array(result['sums']).T
    sent = 4 * elements * 2 * (2 - 1) / 2
    latency = float(seconds[0])
    bandwidth = float(numpy.median(sent[2:] / (seconds[2:] - latency)))
    found = {'latency': latency, 'bandwidth': bandwidth}
    for name, t in result['sizes'].items():
        stream = (t['1'] - t['1, half']) / (B - B // 2)
        found[name] = {'stream': stream, 'window': t['1'] - B * stream}
    return found


def seconds(fitted, size, V, B, N):
    """Returns the seconds per window with N processes here, without overlap."""
    n, T = models.SIZES[size]['n'], models.SIZES[size]['T']
    own = fitted[size]['window'] + B / N * fitted[size]['stream']
    if N == 1:
        return own
    return own + GPU['sums'] * fitted['latency'] + (
        traffic(n, V, T, B, N) / fitted['bandwidth'])


def measured_table(result, fitted, V, B):
    rows = []
    for name, t in result['sizes'].items():
        n, T = models.SIZES[name]['n'], models.SIZES[name]['T']
        words = T * B
        rate = T * models.flops_per_word(n, V) / fitted[name]['stream'] / 1e9
        predicted = seconds(fitted, name, V, B, 2)
        rows.append([
            f'{name} ({n} units)', common.number(words / t['1']),
            common.number(words / t['2']), common.number(t['ratio'], 2),
            common.number(t['1'] / predicted, 2),
            f'{100 * (predicted / t["2"] - 1):+.0f}%',
            common.number(1e3 * fitted[name]['window'], 1), common.number(rate),
            common.number(traffic(n, V, T, B, 2) / 1e6, 1),
            common.number(traffic(n, V, T, B, 2, rows=False) / 1e6, 1)])
    return '\n'.join([
        f'{common.machine_line(result["machine"])}. By `python '
        f'benchmarks/scaling.py`: batch size {B}, one process against two, one thread '
        'each; medians over all rounds. The speedup is the median of the ratios in '
        'each round, so it can differ from the ratio of the medians.',
        '',
        common.table(
            ['', 'words/s, 1 process', 'words/s, 2 processes', 'speedup',
             'speedup by the model', 'error of the modelled time',
             'fixed, ms per window', 'rate, GFLOP/s', 'MB exchanged per window',
             'MB with a dense embedding'], rows),
        f'A sum over two processes has a latency of {1e6 * fitted["latency"]:.0f} µs '
        f'and a bandwidth of {fitted["bandwidth"] / 1e9:.1f} GB/s.', ''])


def gpu_seconds(size, V, B, N, improved=False):
    """Estimates the seconds per window on N GPUs.

    Args:
        improved (bool): Whether only rows of the embedding are exchanged, overlapped
            with the backward pass, as by 'naive'; otherwise as by 'pure_nccl'.
    """
    n, T = models.SIZES[size]['n'], models.SIZES[size]['T']
    everything, _ = parameters(n, V)
    work = T * B / N * models.flops_per_word(n, V) / GPU['flops']
    own = T * GPU['step'] + work + 3 * 4 * everything / GPU['memory']
    if N == 1:
        return own
    exchange = 0.0
    local = min(N, GPU['per node'])
    if local > 1:
        bandwidth, latency = GPU['nvlink']
        exchange += latency + traffic(n, V, T, B, local, improved) / bandwidth
    if N > local:
        bandwidth, latency = GPU['network']
        nodes = N // local
        # Each GPU of a node sends its share to the other nodes.
        exchange += latency * math.log2(nodes) + (
            traffic(n, V, T, B, nodes, improved) / local / bandwidth)
    if improved:
        backward = 2 / 3 * (T * GPU['step'] + work)
        exchange = max(exchange - backward, 0) + (
            GPU['sums'] * GPU['nvlink' if N == local else 'network'][1])
    return own + exchange


def half_batch(size, V, N, improved=False):
    """Returns the batch size from which N GPUs reach a speedup of N / 2."""
    B = N
    while B < 10 ** 6:
        if gpu_seconds(size, V, B, 1) / gpu_seconds(size, V, B, N, improved) >= N / 2:
            return B
        B = math.ceil(B * 1.05)
    return None


def paying_batch(size, V, N, improved=False):
    """Returns the batch size from which N GPUs are faster than one."""
    B = N
    while gpu_seconds(size, V, B, 1) <= gpu_seconds(size, V, B, N, improved):
        B = math.ceil(B * 1.05)
    return B


def predicted_tables(V):
    out = []
    for N in 8, 64:
        out += [f'Speedup of {N} GPUs over one with the same batch size; in '
                'parentheses with row-wise exchange of the embedding and overlap:', '',
                common.table(
                    ['batch size', *models.SIZES],
                    [[B, *(_pair(size, V, B, N) for size in models.SIZES)]
                     for B in BATCHES if B >= N]
                    + [['faster than one GPU from batch size', *(
                        f'{paying_batch(s, V, N):,} ({paying_batch(s, V, N, True):,})'
                        for s in models.SIZES)],
                       [f'{N // 2} times as fast from batch size', *(
                           f'{half_batch(s, V, N):,} ({half_batch(s, V, N, True):,})'
                           for s in models.SIZES)]])]
    out += ['Components at batch size 320:', '', common.table(
        ['', *models.SIZES],
        [['ms per window, one GPU', *(
            common.number(1e3 * gpu_seconds(s, V, 320, 1), 2) for s in models.SIZES)],
         ['fixed part for the steps, ms', *(
             common.number(1e3 * models.SIZES[s]['T'] * GPU['step'], 2)
             for s in models.SIZES)],
         ['ms per window, 8 GPUs', *(
             common.number(1e3 * gpu_seconds(s, V, 320, 8), 2) for s in models.SIZES)],
         ['MB exchanged per window, all dense', *(
             common.number(traffic(models.SIZES[s]['n'], V, models.SIZES[s]['T'], 320,
                                   8, rows=False) / 1e6, 1) for s in models.SIZES)],
         ['MB, embedding by rows', *(
             common.number(traffic(models.SIZES[s]['n'], V, models.SIZES[s]['T'], 320,
                                   8) / 1e6, 1) for s in models.SIZES)]])]
    return '\n'.join(out)


def _pair(size, V, B, N):
    one = gpu_seconds(size, V, B, 1)
    return ' '.join([f'{one / gpu_seconds(size, V, B, N):.1f}',
                     f'({one / gpu_seconds(size, V, B, N, True):.1f})'])


def cpu_rate():
    """Returns the operations per second in training on two cores, of cpu.py's medium.
    """
    medium, = (row for row in common.kept(common.CPU)['training']
               if row['size'] == 'medium')
    return medium['words/s']['fast'] * models.flops_per_word(medium['units'], V)


def adaptive_outputs(V, n):
    """Returns the size of a full softmax that costs as much as an adaptive one.

    Words follow Zipf's law.  The cutoffs are V/100, V/20 and V/4; cluster k has
    n / 4^k units.
    """
    cutoffs = [V // 100, V // 20, V // 4, V]
    outputs = cutoffs[0] + 3.0
    for k, (start, stop) in enumerate(zip(cutoffs, cutoffs[1:]), 1):
        share = math.log((stop + 1) / (start + 1)) / math.log(V + 1)
        outputs += share / 4 ** k * (n + stop - start)
    return outputs


def billion_table():
    """Returns a table of estimated times for an epoch of a billion words."""
    rows, cpu = [], cpu_rate()
    for words, softmax in (V, 'full'), (800000, 'full'), (800000, 'adaptive'):
        for size, given in models.SIZES.items():
            n, T = given['n'], given['T']
            outputs = words if softmax == 'full' else adaptive_outputs(words, n)
            flops = models.flops_per_word(n, outputs)
            gpu = 1e9 / (T * 320) * (
                T * GPU['step'] + T * 320 * flops / GPU['flops']
                + 3 * 4 * parameters(n, outputs)[0] / GPU['memory'])
            rows.append([size, f'{words:,}', softmax, common.number(flops / 1e6),
                         common.number(cpu / flops),
                         common.number(1e9 * flops / cpu / 86400, 1),
                         common.number(gpu / 3600, 1)])
    return common.table(
        ['', 'vocabulary', 'softmax', 'million operations per word',
         'words/s, 2 cores', 'days on 2 cores', 'hours on one GPU, batch size 320'],
        rows)
