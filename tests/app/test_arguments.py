"""Invalid arguments are refused by name before work starts."""
import re

import chainer
from helpers import small, text
import numpy
import pytest

import rnnlm
import rnnlm.app.cli
from rnnlm.inference import scoring
from rnnlm.inference.dynamic import DynamicEvaluation
from rnnlm.inference.generate import beam_search, generate
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.model_files import describe
from rnnlm.training.triggers import ReportTrigger

NAN, INF = float('nan'), float('inf')


def model():
    return rnnlm.RNNForLM(20, 4)


def updater(**kwargs):
    optimizer = chainer.optimizers.SGD().setup(small())
    return rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, **kwargs)


@pytest.mark.parametrize('name, use, values', [
    ('n_vocab', lambda v: rnnlm.RNNForLM(v, 4), [0, -1, 2.0, '3', True, 10 ** 30]),
    ('n_units', lambda v: rnnlm.RNNForLM(4, v), [0, NAN, 10 ** 30, numpy.array(3)]),
    ('n_layers', lambda v: rnnlm.RNNForLM(4, 4, v), [0, 1001, 10 ** 30]),
    ('dropout', lambda v: rnnlm.RNNForLM(4, 4, dropout=v), [1, -0.1, NAN, 'x', None]),
    ('init_scale', lambda v: rnnlm.RNNForLM(4, 4, init_scale=v), [-1, INF, NAN, 'x']),
    ('tied', lambda v: rnnlm.RNNForLM(4, 4, tied=v), ['no', NAN, None]),
    ('batch_size', lambda v: rnnlm.ParallelSequentialIterator([1, 2, 3], v),
     [0, 1.5, None, '2']),
    ('dataset', lambda v: rnnlm.ParallelSequentialIterator(v, 1),
     [[], 5, None, 'text', ['a', 'b'], [1.5, 2.5], [[1, 2], [3, 4]], [1, 2 ** 40],
      iter([1, 2])]),
    ('bprop_len', lambda v: updater(bprop_len=v), [0, -3, 1.0, None, 10 ** 30]),
    ('decay', lambda v: rnnlm.LearningRateDecay(v, 1), [0, -1, NAN, INF, None, 'x']),
    ('after_epoch', lambda v: rnnlm.LearningRateDecay(1.2, v), [-1, NAN, INF, None]),
    ('interval', ReportTrigger, [0, -1, NAN, 1.5]),
    ('n_retains', rnnlm.Snapshot, [0, -1, 1.5, 'all']),
    ('seconds', rnnlm.SnapshotTrigger, [-1, NAN, None, 'x']),
    ('prime', lambda v: next(generate(model(), v, 3)),
     [[], [1.5], '3', 3, [[1]], [2 ** 40], None]),
    ('prime', lambda v: beam_search(model(), v, 3, 2), [[], ['a']]),
    ('length', lambda v: next(generate(model(), [1], v)), [-1, 1.5, None]),
    ('temperature', lambda v: next(generate(model(), [1], 2, temperature=v)),
     [0, -1, NAN, INF, 'x']),
    ('top_k', lambda v: next(generate(model(), [1], 2, top_k=v)), [0, 1.5]),
    ('top_p', lambda v: next(generate(model(), [1], 2, top_p=v)),
     [0, 1.1, NAN]),
    ('text', lambda v: scoring.score_text(model(), v), [[], [1], [1.0, 2.0], 'ab']),
    ('chunk', lambda v: scoring.score_text(model(), text(9), v), [0, -1, 1.5]),
    ('sentence', lambda v: list(scoring.score_sentences(model(), [v], 0)),
     [[1.5], 'ab', 3]),
    ('between', lambda v: list(scoring.score_sentences(model(), [[1]], v)),
     [-1, 1.5, '3']),
    ('weight', lambda v: scoring.mix(numpy.zeros(2), numpy.zeros(2), v),
     [0, 1, -1, 2, NAN]),
    ('lr', lambda v: DynamicEvaluation(model(), v), [0, -1, NAN, 'x']),
    ('words', lambda v: DynamicEvaluation(model()).perplexity(v), [[], [1], [.5, 1.5]]),
    ('windows', lambda v: DynamicEvaluation(model()).gather(text(), v), [0, -1, 1.5]),
    ('epsilon', lambda v: DynamicEvaluation(model()).gather(text(), 2, v), [0, NAN]),
])
def test_arguments(name, use, values):
    for value in values:
        with pytest.raises(rnnlm.InputError, match=f'^{name}: expected '):
            use(value)


def write_model(path, **changes):
    arrays = {'/'.join(name.split('/')[1:]): param.array
              for name, param in rnnlm.RNNForLM(7, 3).namedparams()}
    for name, array in changes.items():
        if array is None:
            del arrays[name]
        else:
            arrays[name] = array
    numpy.savez_compressed(path, **arrays)
    return str(path)


@pytest.mark.parametrize('changes, message', [
    # Made from its sizes, the model would need 15 GiB.
    ({'embed/W': numpy.zeros((10 ** 6, 1), 'f'),
      'l1/lateral/W': numpy.zeros((1, 4000), 'f')},
     "'l1/upward/W' of shape (16000, 1)"),
    ({'l1/lateral/W': None}, 'found no l1/lateral/W'),
    ({'l1/upward/b': None}, "'l1/upward/b' of shape (12,)"),
    ({'l1/upward/b': numpy.zeros(11, 'f')}, 'found (11,)'),
    ({'l3/W': numpy.zeros((8, 3), 'f')}, "'l3/W' of shape (7, 3)"),
    ({'l3/b': None}, "'l3/b' of shape (7,)"),
    ({'embed/W': numpy.zeros((0, 3), 'f')},
     'expected embed/W of two dimensions, none of them 0')])
def test_a_model_that_contradicts_itself_is_not_made(tmp_path, changes, message):
    path = write_model(tmp_path / 'model.npz', **changes)
    with pytest.raises(rnnlm.InputError, match=re.escape(message)) as e:
        rnnlm.load(path)
    assert str(e.value).startswith(path)
    with open_archive(path) as archive:
        assert describe(archive)['model'] is None


def test_a_name_gives_no_orders_to_the_terminal(tmp_path, capsys):
    path = write_model(tmp_path / 'model.npz', **{'\x1b[31m': numpy.zeros(2)})
    assert rnnlm.app.cli.main(['inspect', path]) == 0
    out = capsys.readouterr().out
    assert '\x1b' not in out and '\\u001b[31m' in out
