"""`rnnlm run --explain`: what was removed or changed, when, and what to write."""
import textwrap

import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.legacy import advice, explain, releases, source, uses

IMPORTS = ('import chainer, numpy as np\nimport chainer.functions as F\n'
           'import chainer.links as L\nfrom chainer import cuda, optimizers, training\n'
           'from chainer.training import extensions\n')


def report(text, folder):
    path = folder / 'script.py'
    path.write_text(IMPORTS + textwrap.dedent(text))
    return explain.explain(str(path))


@pytest.mark.parametrize('line, words', [
    ('chainer.Variable(x, volatile=True)',
     ['Variable(volatile=...): removed in 2.0', 'no_backprop_mode']),
    ('F.dropout(x, train=False)', ['removed in 2.0', "using_config('train', False)"]),
    ('L.Linear(2, 3, wscale=4)', ['wscale', 'removed in 2.0', 'LeCunNormal(scale)']),
    ('F.relu(x, use_cudnn=False)', ['removed in 2.0', "'use_cudnn', 'never'"]),
    ('F.Linear(2, 3)', ['removed in 2.0', 'links.Linear']),
    ('F.Sigmoid()', ['removed in 5.0', 'F.sigmoid']),
    ('chainer.FunctionSet(l=1)', ['removed in 2.0', 'init_scope()']),
    ('optimizers.SGD().zero_grads()', ['removed in 2.0', 'cleargrads()']),
    ('cuda.init(0)', ['removed in 2.0', 'chainer.get_device(gpu).use()']),
    ('cuda.get_device(0)', ['deprecated since 1.23', 'chainer.get_device(gpu)']),
    ('extensions.snapshot(trigger=1)', ['removed in 2.0', 'trainer.extend']),
    ('chainer.serializers.load_npz(filename=a, obj=b)', ['removed in 3.1', 'file']),
    ('L.Classifier(1).zerograds()', ['deprecated since 1.15', 'cleargrads']),
    ('F.softmax(x, True, 2)', ['removed in 2.0', '(x, axis=)']),
])
def test_removed_features(line, words, tmp_path):
    notes = [note for note in report(line, tmp_path)[:-1]
             if note.startswith('script.py:6: ')]
    assert any(all(word in note for word in words) for note in notes), notes


def test_changed_behaviour(tmp_path):
    old = report('''
        l = L.LSTM(2, 3)
        g = L.GRU(2, 3)
        y = F.dropout(x, 0.5, False)
        class Net(chainer.Chain):
            def __init__(self, gpu):
                self.device = gpu
    ''', tmp_path)
    assert any('script.py:12: self.device = ...: removed in 6.0; instead: another name'
               in note for note in old)
    assert any('script.py:7: L.LSTM: since 2.0 the forget gate' in note for note in old)
    assert any('script.py:8: L.GRU: since 2.0' in note for note in old)
    new = report('l = L.LSTM(2, 3)\nchainer.config.train = False', tmp_path)
    assert len(new) == 1 and new[0].startswith('Nothing to change')


def test_python_2(tmp_path):
    lines = report('print "a"\nn = 7 / 2\nF.dropout(x, train=False)', tmp_path)
    assert any('Python 2; convert it first' in line for line in lines)
    assert any(line.startswith('script.py:7: 7 / 2') for line in lines)
    assert any(line.startswith('script.py:8: F.dropout(train') for line in lines)


def test_the_command_runs_nothing(tmp_path, capsys):
    path = tmp_path / 'script.py'
    path.write_text('print("it ran")\nimport chainer\nchainer.FunctionSet()\n')
    assert cli.main(['run', '--explain', str(path)]) == 0
    out = capsys.readouterr().out
    assert 'script.py:3: chainer.FunctionSet: removed in 2.0' in out
    assert 'it ran' not in out
    path.write_text('if x\n')
    assert cli.main(['run', '--explain', str(path)]) == 2
    assert cli.main(['run', '--explain', str(tmp_path / 'none.py')]) == 2


def test_every_removed_name_is_reported():
    """At least for the release that lacks it; and advice only names existing names."""
    table = releases.load()
    now = 1 << len(table.versions) - 1
    for path, entries in table.entries.items():
        there = 0
        for entry in entries:
            there |= entry.releases
        if not there & now and there:
            assert table.removed_in(there)
            use = uses.Use('a.py', 1, path, there, path, '', False, there)
            assert isinstance(explain.instead_of(use, table), str)
    for name in (*advice.NAMES, *advice.BEHAVIOURS, *advice.DEPRECATED):
        owner, _, last = name.rpartition('.')
        assert table.member(owner, last, table.all), name
    for name in advice.NAMES:
        assert not explain.is_there(name, table), name
    arguments = {part.strip('-=') for entries in table.entries.values()
                 for entry in entries for part in entry.what[1:-1].split(',')}
    for argument in advice.ARGUMENTS:
        name = argument if isinstance(argument, str) else argument[1]
        assert name in arguments, argument


def test_a_member_of_the_successor_is_not_reported(tmp_path):
    notes = '\n'.join(report('m = chainer.FunctionSet(l=F.Linear(2, 3))\n'
                             'print(m.l.W, F.SoftmaxCrossEntropy(True, False))\n'
                             'from chainer.functions import caffe\n'
                             'caffe.CaffeFunction(1).to_gpu()', tmp_path))
    assert 'm.l.W' not in notes and 'to_gpu' not in notes and 'other ones' not in notes
    assert 'F.SoftmaxCrossEntropy: removed in 5.0' in notes


@pytest.mark.parametrize('line', [
    'from misc import async', 'serve(graph, async=True)', 'async = 1'])
def test_a_name_that_became_a_keyword(line, tmp_path):
    for read in explain.explain, source.parse:
        path = tmp_path / 'script.py'
        path.write_text(f'import chainer\n{line}\n')
        with pytest.raises(rnnlm.InputError) as e:
            read(str(path))
        assert "script.py:2" in str(e.value) and 'async_' in str(e.value)
    (tmp_path / 'script.py').write_text('async def f(): (')
    with pytest.raises(SyntaxError):
        source.parse(str(tmp_path / 'script.py'))


def test_names_that_no_python_3_has(tmp_path):
    (tmp_path / 'script.py').write_text('from __builtin__ import True\n')
    with pytest.raises(rnnlm.InputError) as e:
        source.parse(str(tmp_path / 'script.py'))
    assert 'modernize' in str(e.value)
