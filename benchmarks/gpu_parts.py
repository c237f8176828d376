"""The parts of gpu.py.

Each takes the settings (`gpu.Settings`) and a function that stores results, which it
calls after each measurement with its results so far.
"""
import gc
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

import rnnlm
from rnnlm.data import corpus
from rnnlm.kernels import gpu_for

import chainer
import cupy
import numpy

import common
import gpu_models
import models
from common import median, random_ids

HERE = os.path.dirname(os.path.abspath(__file__))
LIMITS = {False: 1e-4, True: 5e-3}  # of the relative error, by whether TF32 is used
REPLAY_LIMIT = 1e-3  # of the losses of windows that build on one another
NOT_REACHED = 'it was not reached'
LEAST, ROUNDS = 0.03, 5  # seconds between two events, and how often
REPLAYED = 50  # windows
PAIRS = [  # of ratios: faster, slower
    ('persistent', 'official'), ('graph', 'official'), ('functions', 'official'),
    ('torch', 'official'), ('graph', 'functions'), ('persistent', 'graph'),
    *((f'{ours}{how}', f'{theirs}{how}') for how in ('', ' tf32')
      for ours in ('persistent', 'graph') for theirs in ('torch', 'torch graph')),
    ('persistent tf32', 'official'), ('persistent tf32', 'persistent'),
    ('graph tf32', 'graph')]


def say(text):
    print(text, flush=True)


def synchronize():
    cupy.cuda.Device().synchronize()


def wall(work):
    """Measures the seconds of some work, including the GPU's."""
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def on_device(work):
    """Measures the median seconds of some work on the GPU, between two events."""
    work()
    count = max(1, min(1000, int(LEAST / max(wall(work), 1e-6))))
    times = []
    for _ in range(ROUNDS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3 / count)
    return median(times)


def why(error):
    return f'{type(error).__name__}: {str(error).strip()[:500]}'


def require_usable_gpu():
    """Raises an error if the GPU cannot be used any more."""
    synchronize()


def gpu_kernels():
    return gpu_for(cupy, numpy.dtype('f'))


# Machine ------------------------------------------------------------------------

def machine(settings, keep):
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)['name'].decode()
    versions = {'Python': platform.python_version(), 'NumPy': numpy.__version__,
                'CuPy': cupy.__version__, 'Chainer': chainer.__version__,
                'rnnlm': rnnlm.__version__}
    torch = gpu_models.find_torch()
    if torch:
        versions['torch'] = torch.__version__
        cudnn = torch.backends.cudnn
        versions['cuDNN'] = cudnn.version() if cudnn.is_available() else None
    result = {'gpu': name, 'multiprocessors': device.attributes['MultiProcessorCount'],
              'CUDA': runtime.runtimeGetVersion(), 'driver': driver(),
              'versions': versions, 'host': common.machine()}
    say(result)
    keep(result)
    result['copy B/s'] = copy_rate(settings)
    keep(result)
    result['sgemm FLOP/s'] = sgemm_rates(settings, torch)
    result['TF32 changes products by'] = tf32_effect()
    say({key: result[key] for key in list(result)[-3:]})
    keep(result)


def driver():
    try:
        return subprocess.run(
            ['nvidia-smi', '--query-gpu=driver_version,clocks.max.sm,power.limit',
             '--format=csv,noheader'], capture_output=True, encoding='utf-8',
            timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f'unknown ({type(error).__name__})'


def copy_rate(settings):
    """Measures bytes per second, read and written, in a copy larger than the L2 cache.
    """
    source = cupy.ones(10 ** 4 if settings.tiny else 2 ** 28, numpy.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / on_device(lambda: cupy.copyto(target, source))


def sgemm_rates(settings, torch):
    """Measures the FLOP/s of a large matrix product; returns name -> rate."""
    N = 64 if settings.tiny else 8192
    a, b = (cupy.random.uniform(-1, 1, (N, N), dtype=numpy.float32)
            for _ in range(2))
    out = cupy.empty((N, N), numpy.float32)
    dot, rates = gpu_kernels().cuda.dot, {}
    for tf32 in False, True:
        with chainer.using_config('tf32', tf32):
            rates[name_of('ours', tf32)] = 2 * N ** 3 / on_device(
                lambda: dot(a, b, out))
    if torch and torch.cuda.is_available():
        device = gpu_models.TORCH_DEVICE
        a, b = (torch.rand(N, N, device=device) * 2 - 1 for _ in range(2))
        out = torch.empty(N, N, device=device)
        for tf32 in False, True:
            gpu_models.set_tf32(torch, tf32)
            rates[name_of('torch', tf32)] = 2 * N ** 3 / on_device(
                lambda: torch.mm(a, b, out=out))
        gpu_models.set_tf32(torch, False)
    return rates


def name_of(what, tf32):
    return f'{what} tf32' if tf32 else what


def tf32_effect():
    """Returns the relative difference made by TF32; 0 if it has no effect."""
    a, b = (cupy.random.uniform(-1, 1, (256, 256), dtype=numpy.float32)
            for _ in range(2))
    products = []
    for tf32 in False, True:
        out = cupy.empty((256, 256), numpy.float32)
        with chainer.using_config('tf32', tf32):
            gpu_kernels().cuda.dot(a, b, out)
        products.append(cupy.asnumpy(out))
    return relative(products[1], products[0])


# Tests --------------------------------------------------------------------------

def tests(settings, keep):
    """Runs the project's tests that need a GPU."""
    try:
        import pytest  # noqa: F401
    except ImportError:
        say('pytest is not installed: no tests')
        keep({'skipped': 'pytest is not installed'})
        return
    command = [sys.executable, '-m', 'pytest', '-m', 'gpu', '-rfE', '-p',
               'no:cacheprovider', *settings.tests.split()]
    result = {'command': ' '.join(command[1:])}
    with tempfile.TemporaryFile('w+') as f:
        try:
            result['status'] = subprocess.run(
                command, cwd=os.path.dirname(HERE), stdout=f,
                stderr=subprocess.STDOUT, timeout=settings.limit('tests') - 5,
                env=dict(os.environ, PYTHONUNBUFFERED='1')).returncode
        except subprocess.TimeoutExpired:
            result['status'] = 'out of time'
        f.seek(0)
        out = f.read()
    # One letter for each; there may be no summary.
    letters = ''.join(re.findall(r'^([.FEsxX]+)(?: *\[ *\d+%\])?$', out, re.M))
    for what, letter in ('passed', '.'), ('failed', 'F'), ('errors', 'E'), (
            'skipped', 's'):
        result[what] = letters.count(letter)
    result['tail'] = out.splitlines()[-30:]
    say('\n'.join(result['tail']))
    keep(result)


# The same -----------------------------------------------------------------------

def relative(a, b):
    a, b = (numpy.asarray(x, 'd') for x in (a, b))
    return float(numpy.linalg.norm(a - b) / max(numpy.linalg.norm(b), 1e-300))


def reference(sizes, weights, ids):
    """Computes loss and gradients in float64 with our functions on the CPU."""
    with chainer.using_config('dtype', numpy.float64):
        model = rnnlm.RNNForLM(sizes['V'], sizes['n'], models.LAYERS, 0)
    for name, param in model.namedparams():
        param.array[...] = weights[name]
    loss = model.loss(ids[:-1], ids[1:])
    model.cleargrads()
    loss.backward()
    return float(loss.array), {name: p.grad for name, p in model.namedparams()}


def same(settings, keep):
    """Checks that all implementations compute the same loss and gradients."""
    # Results of an earlier process that did not finish are kept.
    result = settings.known.get('same', {'sizes': {
        size: {name: {'error': NOT_REACHED}
               for name in gpu_models.available(gpu_models.SIZES[size])[0]}
        for size in settings.sizes if size != 'large'}})
    for size, rows in result['sizes'].items():
        sizes = dict(gpu_models.SIZES[size], dropout=0.0)
        weights = models.make_weights(**sizes)
        ids = random_ids(sizes['T'], sizes['V'], sizes['B'], seed=1)
        expected = reference(sizes, weights, ids)
        for name in rows:
            if rows[name].get('error') != NOT_REACHED:
                continue
            rows[name] = {'error': 'it did not come to its end'}
            keep(result)
            try:
                row = compare(name, gpu_models.make(
                    name, sizes, weights).loss_and_gradients(ids), expected)
                if name in ('graph', 'persistent') and 'error' not in row:
                    check_replay(name, gpu_models.SIZES[size], weights, row)
            except Exception as error:
                row = {'error': why(error)}
            rows[name] = row
            keep(result)
            say(f'same, {size}, {name}: ' + (
                f'FAILED: {row["error"]}' if 'error' in row else
                f'{row["worst"]:.1e}' + (f', {REPLAYED} windows {row["replay"]:.1e}'
                                         if 'replay' in row else '')))
            gc.collect()
            require_usable_gpu()


def compare(name, found, expected):
    """Returns the largest relative error of an implementation, and where it is."""
    limit = LIMITS['tf32' in name]
    errors = {'loss': relative(found[0], expected[0])}
    for key, g in found[1].items():
        errors[key] = relative(chainer.backends.cuda.to_cpu(g), expected[1][key])
    key = max(errors, key=lambda k: (errors[k] if errors[k] == errors[k] else 1e300))
    row = {'worst': errors[key], 'at': key, 'loss': errors['loss']}
    if not errors[key] <= limit:
        row['error'] = f'{key} is off by {errors[key]:.1e}, more than {limit}'
    return row


def check_replay(name, sizes, weights, row):
    """Compares the losses of successive windows with and without a graph."""
    losses = []
    for kind in name, 'functions' if name == 'graph' else 'persistent functions':
        numpy.random.seed(2)  # the keys of dropout
        way = gpu_models.make(kind, sizes, weights)
        way.optimizer.lr = 0.1  # small steps, in which rounding does not grow
        of_kind = []
        for k in range(REPLAYED):
            way.train([random_ids(sizes['T'], sizes['V'], sizes['B'], seed=k)])
            of_kind.append(way.last_loss())
        losses.append(numpy.array(of_kind))
    row['replay'] = float(numpy.abs(losses[0] / losses[1] - 1).max())
    if not row['replay'] <= REPLAY_LIMIT:
        row['error'] = (f'{REPLAYED} windows of the graph and launched one by one '
                        f'differ by {row["replay"]:.1e}')


def usable(settings, sizes):
    """Returns the implementations that can run here and have no errors."""
    wrong = {name for rows in settings.known.get('same', {}).get('sizes', {}).values()
             for name, row in rows.items() if 'error' in row}
    return [name for name in gpu_models.available(sizes)[0] if name not in wrong]


def ours(settings, sizes):
    """Returns the name of our fastest usable implementation."""
    return 'persistent' if 'persistent' in usable(settings, sizes) else 'graph'


# Epoch --------------------------------------------------------------------------

def epoch_words(sizes):
    """Returns the ids, the size of the vocabulary, and a description."""
    folder = os.environ.get('RNNLM_PTB_DIR')
    if folder:
        text = corpus.load(folder)
        return text.train, len(text.vocabulary), 'the Penn Treebank'
    V = sizes['V']
    p = 1 / (numpy.arange(V) + 2.7)
    words = numpy.random.RandomState(0).choice(V, sizes['words'], p=p / p.sum())
    return words.astype('i'), V, 'random words with the frequencies of a text'


def epoch(settings, keep):
    """Measures two epochs with Chainer's Trainer, by its LogReport."""
    sizes = gpu_models.SIZES[settings.main]
    words, V, what = epoch_words(sizes)
    result = {'size': settings.main, 'words': len(words), 'what': what, 'seconds': {}}
    best = ours(settings, sizes)
    for tf32 in False, True:
        with gpu_models.switched(best == 'persistent', tf32), (
                tempfile.TemporaryDirectory()) as out:
            numpy.random.seed(0)
            target = chainer.links.Classifier(rnnlm.RNNForLM(
                V, sizes['n'], models.LAYERS, sizes['dropout'], sizes['scale']))
            target.compute_accuracy = False
            target.to_device(gpu_models.DEVICE)
            optimizer = chainer.optimizers.SGD(lr=1.0).setup(target)
            optimizer.add_hook(
                chainer.optimizer_hooks.GradientClipping(sizes['clip']))
            updater = rnnlm.BPTTUpdater(
                rnnlm.ParallelSequentialIterator(words, sizes['B']), optimizer,
                sizes['T'])
            trainer = chainer.training.Trainer(updater, (2, 'epoch'), out=out)
            trainer.extend(chainer.training.extensions.LogReport(
                trigger=(1, 'epoch')))
            trainer.run()
            log = trainer.get_extension('LogReport').log
        first, both = (entry['elapsed_time'] for entry in log)
        result['seconds'][name_of(best, tf32)] = {
            'first': first, 'second': both - first,
            'loss': [entry['main/loss'] for entry in log]}
        say(result)
        keep(result)
