"""Draws customisations, runs both sides, compares: ``python -m
tests.customisations.compare --draws 500 --seed 0``.

It compares only results: the loss of every window, what was reported, the parameters
after every window, what the customisations logged, the evaluation, and the same after
a resume.
"""
import argparse
import collections
import io
import logging
import os
import random
import sys
import time
import traceback
import warnings

from tests.customisations import world as worlds
from tests.customisations.catalogue import CUSTOMISATIONS

import chainer
from chainer import training
import numpy

RTOL = 1e-4
NUDGE = 2e-7  # relative change of every number of a parameter, of random sign
NUDGED_RUNS = 4  # that estimate how far rounding may go
SNAPSHOT_AT = 4
EVALUATORS = 'stock', 'perplexity'

SAME, SILENT, CRASH, BOTH = 'same', 'SILENT', 'CRASH', 'BOTH'
CHAOTIC = 'chaotic'  # rounding alone makes other numbers: the draw does not count
FAILURES = SILENT, CRASH

# Models with masks of a window, and what calls the model in training between windows.
MASKED = ('model_with_locked_dropout', 'model_with_weight_drop',
          'model_with_one_weight_drop', 'model_with_all_masks',
          'model_with_adaptive_softmax_and_masks')
CALLED = ('model_called_between_windows', 'target_called_between_windows',
          'patch_unchain_backward')  # the states are not cut off from their graph

# Compositions in which ours differs on purpose: frozenset of names -> reason.  Also
# listed in docs/customising.md.
EXCEPTIONS = {
    frozenset(['loss_scaling']):
        'the example divides by a scale that it never multiplies the loss with',
    frozenset(['loss_scaling_dynamic']):
        'the example divides by a scale that it never multiplies the loss with',
    **{frozenset([model, called]):
       "an update begins a window; the example's does not say so to the model"
       for model in MASKED for called in CALLED},
    **{frozenset([model, 'target_attributes_read']):
       'an adaptive softmax does not compute the log probabilities of all words'
       for model in ('model_with_adaptive_softmax',
                     'model_with_adaptive_softmax_and_masks')},
}

Verdict = collections.namedtuple('Verdict', 'kind detail')


# On a GPU Chainer's own kernels write beside their arrays.
NOT_ON_A_GPU = 'text_with_minus_one', 'valid_with_minus_one'


class Recorder(training.Extension):
    """Keeps everything after each window; comes after all other extensions."""

    priority = -1000
    trigger = 1, 'iteration'

    def __init__(self, world, save_at):
        self.world, self.save_at = world, save_at
        self.windows = []
        self.saved = None

    def __call__(self, trainer):
        world = self.world
        seen = {'parameters': {}, 'reported': {}, 'logged': list(world.logged)}
        for name, param in world.target.namedparams():
            seen['parameters'][name] = worlds.on_host(param.array)
        for name, value in trainer.observation.items():
            value = getattr(value, 'array', value)
            if numpy.ndim(value) == 0:
                seen['reported'][name] = float(value)
        if world.kind == 'official':
            seen['reported'].update(world.updater.means)
            seen['loss'] = world.updater.mean_loss
        world.logged.clear()
        self.windows.append(seen)
        if world.updater.iteration == self.save_at:
            self.saved = _save(world)


def _watched(Updater):
    """The official updater, whose reports are those of a window's last step."""
    class Watched(Updater):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.steps = collections.defaultdict(list)
            self.means, self.mean_loss = {}, None
            self.last = {}  # what a step does not report is still there

        def step_done(self):
            for name, value in chainer.get_current_reporter().observation.items():
                if value is self.last.get(name):
                    continue
                self.last[name] = value
                value = getattr(value, 'array', value)
                if numpy.ndim(value) == 0:
                    self.steps[name].append(float(value))

        def window_done(self, loss):
            self.mean_loss = loss.array.item() / self.bprop_len
            self.means = {k: numpy.mean(v) for k, v in self.steps.items()}
            self.steps.clear()

    return Watched


def _save(world):
    """A snapshot, and what Chainer's own lack of the run: states, random stream."""
    file, states = io.BytesIO(), {}
    error = None
    try:
        chainer.serializers.save_npz(file, world.trainer, compression=False)
    except Exception as e:
        error = e
    for path, link in world.target.namedlinks():
        for name, value in vars(link).items():
            if name in ('c', 'h') and value is None:
                states[path, name] = None
            elif name in ('c', 'h') and isinstance(value, numpy.ndarray):
                states[path, name] = value.copy()
            elif type(value) is chainer.Variable and name not in ('y', 'loss'):
                states[path, name] = value.array.copy()
    return file, states, numpy.random.get_state(), error


def _load(world, saved, names):
    """Resumes; official runs get back what `names` are called, too."""
    file, states, stream, error = saved
    if error is not None:
        raise error
    file.seek(0)
    chainer.serializers.load_npz(file, world.trainer)
    if world.kind == 'official':  # ours promises to do that by itself
        links = dict(world.target.namedlinks())
        for (path, name), array in states.items():
            if names is None or name in names:
                setattr(links[path], name,
                        None if array is None else chainer.Variable(array.copy()))
        numpy.random.set_state(stream)


def run(kind, customisations, seed, evaluator='stock', saved=None, nudge=None,
        names=None):
    """Trains one side; returns what was seen of each window, and a snapshot."""
    numpy.random.seed(seed)
    if worlds.device != -1:  # for parameters that are made there
        chainer.get_device(worlds.device).xp.random.seed(seed)
    with warnings.catch_warnings(), numpy.errstate(all='ignore'):
        warnings.simplefilter('ignore')
        # On a GPU Chainer's dropout and ours draw other numbers: there is none then.
        with worlds.World(kind, evaluator) as world, chainer.using_config(
                'train', worlds.device == -1):
            if kind == 'official':
                world.Updater = _watched(world.Updater)
            world.build(customisations)
            recorder = Recorder(world, None if saved else SNAPSHOT_AT)
            world.trainer.extend(recorder, name='recorder')
            if nudge is not None:
                _nudge(world.target, nudge)
                _nudge_gradients(world.updater.get_optimizer('main'), nudge)
            if saved:
                _load(world, saved, names)
            world.trainer.run(show_loop_exception_msg=False)
            return recorder.windows, recorder.saved


def _nudge(target, seed):
    """Changes parameters as rounding would: each number by itself."""
    signs = numpy.random.RandomState(seed)  # not the run's own stream
    for param in target.params():
        if param.array is not None:
            sign = signs.choice([-1, 1], size=param.shape)
            param.array *= param.xp.asarray(1 + NUDGE * sign, param.dtype)


def _nudge_gradients(optimizer, seed):
    """Changes gradients as rounding would, before each update.

    Behind a saturated gate they are smaller than the rounding of others.  Those that
    are zero, as of words that do not occur, stay so.
    """
    signs, update = numpy.random.RandomState(seed), optimizer.update

    def nudged(*args, **kwargs):
        for param in optimizer.target.params():
            if param.grad is not None and not args:
                largest = float(abs(param.grad).max()) if param.size else 0
                noise = largest * NUDGE * signs.choice([-1, 1], size=param.shape)
                param.grad += param.xp.asarray(noise, param.dtype) * (param.grad != 0)
        update(*args, **kwargs)

    optimizer.update = nudged


def first_difference(expected, actual, first=1, rtol=RTOL):
    """Where two runs part, in words; '' if nowhere."""
    if len(expected) != len(actual):
        return f'{len(actual)} windows instead of {len(expected)}'
    for k, (e, a) in enumerate(zip(expected, actual), first):
        reported = dict(e['reported'])
        own = reported.pop('main/loss', None)
        loss = a['reported'].get('main/loss')
        if loss is not None and not any(
                x is not None and _close(x, loss, rtol) for x in (e['loss'], own)):
            return f"window {k}: loss {loss:.7g} instead of {e['loss']:.7g}"
        for name, value in reported.items():
            if name not in a['reported']:
                return f'window {k}: {name} is not reported'
            if not name.startswith('elapsed') and not _close(
                    value, a['reported'][name], rtol):
                return (f"window {k}: {name} {a['reported'][name]:.7g} instead of "
                        f'{value:.7g}')
        if set(e['parameters']) != set(a['parameters']):
            return f"window {k}: other parameters, {sorted(a['parameters'])}"
        for name, value in e['parameters'].items():
            if not _close(value, a['parameters'][name], rtol):
                return (f"window {k}: {name} differs by "
                        f"{_distance(value, a['parameters'][name])}")
        names = [[name for name, _ in side['logged']] for side in (e, a)]
        if names[0] != names[1]:
            return f'window {k}: logged {names[1]} instead of {names[0]}'
        for (name, x), (_, y) in zip(e['logged'], a['logged']):
            if not _close(x, y, rtol):
                return f'window {k}: logged {name} differs by {_distance(x, y)}'
    return ''


def _close(x, y, rtol):
    x, y = numpy.asarray(x), numpy.asarray(y)
    if x.shape != y.shape or (x.dtype.kind == 'f') != (y.dtype.kind == 'f'):
        return x.shape == y.shape == () and x == y
    if x.dtype.kind not in 'fiub':
        return bool((x == y).all())
    if not x.size:
        return True
    x, y = x.astype('d'), y.astype('d')
    scale = numpy.abs(x).max()
    return bool((numpy.abs(x - y) <= rtol * scale + 1e-12).all())


def _distance(x, y):
    x, y = numpy.asarray(x), numpy.asarray(y)
    if x.shape != y.shape:
        return f'its shape, {y.shape} instead of {x.shape}'
    if x.dtype.kind not in 'fiub':
        return f'{y} instead of {x}'
    x, y = x.astype('d'), y.astype('d')
    return f'{numpy.abs(x - y).max() / max(numpy.abs(x).max(), 1e-30):.1e}'


def _finite(windows):
    return all(numpy.isfinite(v).all() for w in windows for v in (
        *w['parameters'].values(), *w['reported'].values(), w.get('loss', 0)))


def last_line(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = ' '.join(str(error).split())[:150]
    where = f'{os.path.basename(frame.filename)}:{frame.lineno}'
    return f'{type(error).__name__}: {text} ({where})'


def judge(names, seed=0, evaluators=EVALUATORS, resume=True):
    """The verdict on a composition of customisations."""
    customisations = [CUSTOMISATIONS[name] for name in names]
    try:
        expected, saved = run('official', customisations, seed)
    except Exception as official_error:
        try:
            run('ours', customisations, seed)
        except Exception:
            return Verdict(BOTH, last_line(official_error))
        return Verdict(BOTH, 'official alone: ' + last_line(official_error))
    if not _finite(expected):
        return Verdict(BOTH, 'official has NaN')
    ours_saved = None
    for evaluator in evaluators:
        try:
            actual, ours_saved = run('ours', customisations, seed, evaluator)
        except Exception as e:
            return Verdict(CRASH, f'{evaluator}: {last_line(e)}')
        difference = first_difference(expected, actual)
        if difference:
            return _silent(customisations, seed, expected, f'{evaluator}: {difference}',
                           lambda rtol: first_difference(expected, actual, rtol=rtol))
    if resume:
        return _judge_resume(
            customisations, seed, evaluators[-1], saved, ours_saved, expected)
    return Verdict(SAME, '')


def _judge_resume(customisations, seed, evaluator, saved, ours_saved, expected):
    """Checks that our resumed run continues like the example.

    The states of all recurrent links and the random state are restored.  State that
    links keep under other names may be lost, so both results are accepted.
    """
    differences, references = [], []
    actual = None
    for names in None, ('c', 'h'):
        try:
            resumed, _ = run('official', customisations, seed, saved=saved, names=names)
        except Exception:
            return Verdict(SAME, 'official does not resume')
        if not _finite(resumed):
            return Verdict(SAME, 'official resumes with NaN')
        if actual is None:
            try:
                actual, _ = run(
                    'ours', customisations, seed, evaluator, saved=ours_saved)
            except Exception as e:
                return Verdict(CRASH, f'resumed: {last_line(e)}')
        difference = first_difference(resumed, actual, first=SNAPSHOT_AT + 1)
        if not difference:
            return Verdict(SAME, '')
        differences.append(difference)
        references.append(resumed)
    return _silent(
        customisations, seed, expected, f'resumed: {differences[0]}',
        lambda rtol: all(first_difference(reference, actual, SNAPSHOT_AT + 1, rtol)
                         for reference in references))


def _silent(customisations, seed, expected, difference, differs):
    """SILENT, unless the difference can be rounding.

    Runs of the example from slightly changed parameters show the effect of rounding.
    """
    rtol = RTOL / 16
    for k in range(NUDGED_RUNS):
        nudged, _ = run('official', customisations, seed, nudge=k)
        while rtol < 1 and first_difference(expected, nudged, rtol=rtol):
            rtol *= 2
    if rtol >= 1 or not differs(max(RTOL, 10 * rtol)):
        return Verdict(CHAOTIC, difference)
    return Verdict(SILENT, difference)


def draw(seed, without=()):
    """The names and the options of a draw."""
    if worlds.device != -1:
        without = (*without, *NOT_ON_A_GPU)
    chance = random.Random(seed)
    names = chance.sample(
        sorted(CUSTOMISATIONS.keys() - set(without)), chance.choice((1, 2, 2, 3)))
    return names, dict(evaluators=[chance.choice(EVALUATORS)],
                       resume=chance.random() < 0.5)


def excepted(names):
    return any(exception <= set(names) for exception in EXCEPTIONS)


def main(argv=None):
    parser = argparse.ArgumentParser(prog='python -m tests.customisations.compare')
    parser.add_argument('--draws', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', help='names, with commas: one composition')
    parser.add_argument('--without', default='', help='names, with commas: not drawn')
    parser.add_argument('--singles', action='store_true', help='each one alone')
    parser.add_argument('--traceback', action='store_true')
    parser.add_argument('--device', type=int, default=-1, help=(
        '0: on a GPU, or where PYTHONPATH=tests/cupy_on_host is; without dropout'))
    args = parser.parse_args(argv)
    worlds.device = args.device
    logging.getLogger('rnnlm').setLevel(logging.ERROR)
    if args.only:
        names = args.only.split(',')
        if args.traceback:
            for kind, evaluator in (
                    ('official', 'stock'), *(('ours', e) for e in EVALUATORS)):
                run(kind, [CUSTOMISATIONS[name] for name in names], args.seed,
                    evaluator)
        compositions = [(args.seed, names, {})]
    elif args.singles:
        compositions = [(args.seed, [name], {}) for name in CUSTOMISATIONS]
    else:
        compositions = [(k, *draw(k, args.without.split(',')))
                        for k in range(args.seed, args.seed + args.draws)]
    counts, begin = collections.Counter(), time.perf_counter()
    for seed, names, options in compositions:
        verdict = judge(names, seed, **options)
        if verdict.kind in FAILURES and excepted(names):
            verdict = Verdict('excepted', verdict.detail)
        counts[verdict.kind] += 1
        if verdict.kind != SAME or args.only:
            print(f"{verdict.kind:8}{seed:6} {','.join(names)}: {verdict.detail}",
                  flush=True)
    seconds = (time.perf_counter() - begin) / max(1, len(compositions))
    print(dict(counts), f'{seconds:.3f} s each')
    return int(any(counts[kind] for kind in FAILURES))


if __name__ == '__main__':
    sys.exit(main())
