"""More parts of gpu.py: training, a single layer, memory."""
import collections
import gc
import time

import rnnlm  # noqa: F401

import cupy
import numpy
from rnnlm.kernels.cuda.blas import WORKSPACE

import gpu_models
import models
from common import median, random_ids, ratio
from gpu_parts import (
    PAIRS, gpu_kernels, on_device, ours, require_usable_gpu, say, synchronize, usable,
    wall, why)

LEAST = 0.2  # seconds of a measurement
WINDOWS = 32  # that are drawn beforehand, and come round


# Training -----------------------------------------------------------------------

def training(settings, keep):
    """Measures the seconds per window of each implementation, in turns."""
    # Results of an earlier process that did not finish are kept.
    result = settings.known.get('training', {})
    todo = [size for size in settings.sizes if not result.get(size, {}).get('done')]
    end = time.monotonic() + settings.limit('training') * 0.92
    for k, size in enumerate(todo):
        sizes = gpu_models.SIZES[size]
        _, missing = gpu_models.available(sizes)
        now = time.monotonic()
        until = now + (end - now) / (len(todo) - k)
        failed = result.get(size, {}).get('failed', {})
        row = result[size] = {'missing': missing, 'failed': failed, 'seconds': {},
                              'windows of a measurement': {}}

        def keep_row(row=row, sizes=sizes):
            summarise(row, sizes)
            keep(result)

        made = started(settings, sizes, row, keep_row)
        race(made, sizes, row, settings.rounds, until, keep_row)
        row['device seconds'] = graphs_alone(made)
        row['done'] = True
        keep_row()
        say_row(size, row)
        made.clear()
        gc.collect()


def summarise(row, sizes):
    """Computes words per second and ratios from the rounds so far."""
    times = {name: t for name, t in row['seconds'].items() if t}
    turns = min(map(len, times.values()), default=0)
    times = {name: numpy.array(t[:turns]) for name, t in times.items()}
    words = sizes['T'] * sizes['B']
    row['words/s'] = {name: words / median(t) for name, t in times.items()}
    row['ratios'] = {f'{a} / {b}': ratio(times, b, a) for a, b in PAIRS
                     if a in times and b in times}


def started(settings, sizes, row, keep):
    """Makes and warms up the implementations; chooses the windows per measurement."""
    made, weights = {}, models.make_weights(**sizes)
    for name in usable(settings, sizes):
        if name in row['failed']:
            continue
        row['failed'][name] = 'it did not come to its end'
        keep()
        try:
            way = gpu_models.make(name, sizes, weights)
            way.train(windows(sizes, 4))
            # The last of these: the first may still have waited for something.
            seconds = min(wall(lambda: way.train(windows(sizes, 2))) / 2
                          for _ in range(2))
            least = 0 if settings.tiny else LEAST
            row['windows of a measurement'][name] = int(
                max(1, min(1000, -(-least // seconds))))
            made[name] = way
            say(f'{name}: about {1e3 * seconds:.3f} ms a window')
            del row['failed'][name]
        except Exception as error:
            fail(name, row, error, keep)
    keep()
    return made


def fail(name, row, error, keep):
    row['failed'][name] = why(error)
    say(f'{name}: FAILED: {row["failed"][name]}')
    keep()
    require_usable_gpu()


def windows(sizes, count):
    drawn = [random_ids(sizes['T'], sizes['V'], sizes['B'])
             for _ in range(min(count, WINDOWS))]
    return [drawn[k % len(drawn)] for k in range(count)]


def race(made, sizes, row, rounds, until, keep):
    """Measures the implementations in turns, until the time is over."""
    seconds, last = row['seconds'], 0
    seconds.update({name: [] for name in made})
    for turn in range(rounds):
        start = time.monotonic()
        if not made or turn >= 3 and start + last > until:
            say(f'the race ends after {turn} rounds')
            break
        names = list(made)
        # The order rotates, so that none always follows the same one.
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            count = row['windows of a measurement'][name]
            ids = windows(sizes, count)
            try:
                seconds[name].append(wall(lambda: made[name].train(ids)) / count)
            except Exception as error:
                made.pop(name)
                seconds.pop(name)
                fail(name, row, error, keep)
        last = time.monotonic() - start
        keep()


def graphs_alone(made):
    """Measures the seconds per window of the graphs alone, on the device."""
    found = {}
    for name, way in made.items():
        try:
            if name.startswith('torch graph'):
                found[name] = on_device(way.captured.replay)
            elif isinstance(way, gpu_models.Ours) and way.graph:
                found[name] = on_device(way.captured().launch)
        except Exception as error:
            say(f'{name}, the graph alone: FAILED: {why(error)}')
    return found


def say_row(size, row):
    for name, speed in row['words/s'].items():
        alone = row['device seconds'].get(name)
        took = 1e3 * median(row['seconds'][name])
        say(f'{size:7} {name:22} {speed:12,.0f} words/s {took:9.3f} ms'
            + (f', {1e3 * alone:.3f} on the device' if alone else ''))
    for pair, value in row['ratios'].items():
        say(f'{size:7} {pair:40} {value:.2f}')


# Kernels ------------------------------------------------------------------------

def kernel_ways(settings, sizes):
    """Returns a dict of our variants: name -> (persistent, tf32, graph)."""
    ways = {}
    fits = 'persistent' in usable(settings, sizes)
    # The persistent kernels have no products of cuBLAS, but a layer has.
    for persistent in (False, True) if fits else (False,):
        for tf32 in (False, True):
            for graph in (False, True):
                name = 'persistent' if persistent else 'two launches a step'
                ways[name + (', TF32' if tf32 else '') + (', graph' if graph else '')
                     ] = persistent, tf32, graph
    return ways


def kernels(settings, keep):
    """Measures the seconds and rates of one layer over a window, on the device."""
    result = {}
    for size in settings.sizes:
        sizes = gpu_models.SIZES[size]
        rows = result[size] = {}
        layer = Layer(sizes)
        for name, how in kernel_ways(settings, sizes).items():
            measure(rows, name, lambda: layer.ours(*how))
        torch = gpu_models.find_torch()
        if torch and torch.cuda.is_available():
            for tf32 in False, True:
                for graph in False, True:
                    name = ('cuDNN' + (', TF32' if tf32 else '')
                            + (', graph' if graph else ''))
                    measure(rows, name, lambda: layer.cudnn(torch, tf32, graph))
        for name, row in rows.items():
            if 'error' not in row:
                row['rates'] = layer.rates(row)
            say(f'kernels, {size}, {name}: ' + ', '.join(
                f'{what} {1e6 * row[what]:.1f} us' for what in row
                if what not in ('rates', 'error')) + row.get('error', ''))
        keep(result)


def measure(rows, name, work):
    try:
        rows[name] = work()
    except Exception as error:
        rows[name] = {'error': why(error)}


class Layer:
    """The arrays and computations of one layer over a window."""

    def __init__(self, sizes):
        self.sizes = sizes
        T, B, n = self.shape = sizes['T'], sizes['B'], sizes['n']

        def draw(*shape):
            return cupy.random.uniform(-0.05, 0.05, shape, dtype=numpy.float32)

        self.x, self.W_u, self.W_l = draw(T, B, n), draw(4 * n, n), draw(4 * n, n)
        self.b, self.ghs = draw(4 * n), draw(T, B, n)
        self.z, self.gate, self.gz = (draw(T, B, 4 * n) for _ in range(3))
        self.hs, self.cs = (cupy.zeros((T + 1, B, n), 'f') for _ in range(2))
        self.tanh_cs, self.gx = draw(T, B, n), draw(T, B, n)
        self.gc, self.gh = draw(B, n), draw(B, n)
        self.gW_u, self.gW_l, self.gb = draw(4 * n, n), draw(4 * n, n), draw(4 * n)

    def ours(self, persistent, tf32, graph):
        gpu = gpu_kernels()
        cuda, T = gpu.cuda, self.sizes['T']

        def forward():
            gpu.recurrent.forward(self.z, self.b, self.W_l, self.hs, self.cs,
                                  self.tanh_cs, self.gate)

        def backward():
            gpu.recurrent.backward(self.ghs, self.W_l, self.cs, self.tanh_cs,
                                   self.gate, self.gz, self.gc, self.gh)

        def layer_forward():
            cuda.dot(flat(self.x), self.W_u.T, flat(self.z))
            forward()

        def layer():
            layer_forward()
            cuda.zero(self.gc)
            cuda.zero(self.gh)
            backward()
            gz = flat(self.gz)
            cuda.dot(gz.T, flat(self.x), self.gW_u)
            cuda.dot(gz.T, flat(self.hs[:T]), self.gW_l)
            gpu.output.column_sums(gz, self.gb)
            cuda.dot(gz, self.W_u, flat(self.gx))

        with gpu_models.switched(persistent, tf32):
            found = {}
            for name, work in (('forward', forward), ('backward', backward),
                               ('layer forward', layer_forward), ('layer', layer)):
                # Values left by the last measurement would grow or vanish.
                for x in self.z, self.gc, self.gh:
                    x.fill(0)
                work()
                found[name] = on_device(cuda.capture(work).launch if graph else work)
            return found

    def cudnn(self, torch, tf32, graph):
        (T, B, n), device = self.shape, gpu_models.TORCH_DEVICE
        lstm = torch.nn.LSTM(n, n, 1).to(device)
        x = torch.rand(T, B, n, device=device, requires_grad=True)
        gy = torch.rand(T, B, n, device=device)
        state = tuple(torch.zeros(1, B, n, device=device) for _ in range(2))
        inputs = [x, *lstm.parameters()]

        def forward():
            return lstm(x, state)[0]

        def layer():
            torch.autograd.grad(forward(), inputs, gy)

        gpu_models.set_tf32(torch, tf32)
        try:
            return {
                name: on_device(gpu_models.captured(torch, work)[0].replay
                                if graph else work)
                for name, work in (('layer forward', forward), ('layer', layer))}
        finally:
            gpu_models.set_tf32(torch, False)

    def rates(self, row):
        """Computes FLOP/s, and bytes/s if weights and arrays are moved once."""
        T, B, n = self.shape
        step = 2 * T * B * 4 * n * n
        flops = {'forward': step, 'backward': step, 'layer forward': 2 * step,
                 'layer': 6 * step}
        elements = {'forward': T * B * 11 * n + 4 * n * n,
                    'backward': T * B * 11 * n + 4 * n * n}
        return {what: {'FLOP/s': flops[what] / row[what],
                       **({'B/s': 4 * elements[what] / row[what]}
                          if what in elements else {})}
                for what in row if what in flops}


def flat(x):
    return x.reshape(-1, x.shape[2])


# Memory -------------------------------------------------------------------------

def memory(settings, keep):
    """Measures the MiB of device memory of each implementation."""
    sizes = gpu_models.SIZES[settings.main]
    result = {'size': settings.main, 'MiB': {}, 'held in it MiB': {}}
    weights = models.make_weights(**sizes)
    for name in usable(settings, sizes):
        try:
            result['MiB'][name], result['held in it MiB'][name] = peak(
                name, sizes, weights)
        except Exception as error:
            result['MiB'][name] = why(error)
        say(f'memory, {name}: {result["MiB"][name]}')
        keep(result)
    V = 50 if settings.tiny else 270000
    try:
        taken, _ = peak(ours(settings, sizes), dict(sizes, V=V),
                        collections.defaultdict(lambda: 0.01))  # soon made
    except Exception as error:
        taken = why(error)
    result['large vocabulary'] = {'V': V, 'MiB': taken}
    say(result['large vocabulary'])
    keep(result)


def peak(name, sizes, weights, windows=4):
    """Returns the MiB reserved by the allocator, and the peak in use if known."""
    gc.collect()
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    torch = gpu_models.find_torch() if gpu_models.is_torch(name) else None
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    way = gpu_models.make(name, sizes, weights)
    way.train([random_ids(sizes['T'], sizes['V'], sizes['B'], seed=k)
               for k in range(windows)])
    synchronize()
    if not torch:
        # That of cuBLAS was made before the first way.
        shared = WORKSPACE if isinstance(way, gpu_models.Ours) else 0
        return (pool.total_bytes() - before + shared) / 2 ** 20, None
    if not torch.cuda.is_available():
        return None, None
    return (torch.cuda.max_memory_reserved() / 2 ** 20,
            torch.cuda.max_memory_allocated() / 2 ** 20)


# Mixed precision ----------------------------------------------------------------

def mixed(settings, keep):
    """Measures the seconds per window in mixed precision."""
    sizes = gpu_models.SIZES[settings.main]
    result = {'size': settings.main}
    try:
        weights = models.make_weights(**sizes)
        way = gpu_models.Mixed(weights, **sizes)
        way.train(windows(sizes, 4))
        count = max(1, int(LEAST / wall(lambda: way.train(windows(sizes, 1)))))
        if settings.tiny:
            count = 1
        result['seconds'] = median([
            wall(lambda ids=windows(sizes, count): way.train(ids)) / count
            for _ in range(5)])
        result['loss'] = way.last_loss()
        result['how'] = (way.updater.why_per_step
                         or ('a graph' if way.updater._graph else 'by window'))
        if not numpy.isfinite(result['loss']):
            raise FloatingPointError(f'the loss is {result["loss"]}')
    except Exception as error:
        result['not available'] = why(error)
    synchronize()
    say(result)
    keep(result)
