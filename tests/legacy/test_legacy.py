"""Old scripts run unmodified, each in a separate process as for a user."""
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import chainer
from chainer import functions as F
from helpers import ROOT
import numpy
import pytest

import rnnlm
from rnnlm.legacy import source, table  # importing the table changes nothing

HERE = pathlib.Path(__file__).parent
SCRIPTS = HERE


def run(*args, cwd=None, status=0):
    """Returns output and errors of ``rnnlm run``."""
    done = subprocess.run(
        [sys.executable, '-m', 'rnnlm', 'run', *map(str, args)], cwd=cwd,
        capture_output=True, text=True, env={
            **os.environ, 'PYTHONPATH': ROOT, 'PYTHONWARNINGS': 'default'})
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def script(tmp_path):
    """Runs a few lines as a v1 script; returns what they print as JSON."""
    def run_lines(lines, api='v1', status=0):
        path = tmp_path / 'script.py'
        path.write_text('import json\nimport numpy as np\nimport chainer\n'
                        'import chainer.functions as F\nimport chainer.links as L\n'
                        'from chainer import cuda, Variable\n'
                        + textwrap.dedent(lines))
        out, err = run('--api', api, path, status=status)
        return err if status else [json.loads(line) for line in out.splitlines()]
    return run_lines


def numbers(out, *names):
    return [float(line.split()[1]) for line in out.splitlines()
            if line.split() and line.split()[0] in names]


def test_official_trajectory(golden_1, tmp_path):
    out, err = run(SCRIPTS / 'golden_v1.py', golden_1.path, '--out', tmp_path / 'out')
    assert 'Chainer v1 (1.14 to 1.24), because golden_v1.py:' in err
    numpy.testing.assert_allclose(
        numbers(out, 'window'), golden_1.window_mean_loss, rtol=1e-4)
    numpy.testing.assert_allclose(
        numbers(out, 'valid'), golden_1.val_mean_loss, rtol=1e-4)


def test_snapshot_of_a_script_resumes_in_our_trainer(golden_1, tmp_path):
    run(SCRIPTS / 'golden_v1.py', golden_1.path, '--out', tmp_path / 'out')
    model = rnnlm.RNNForLM(golden_1.n_vocab, golden_1.n_units)
    rnnlm.load_model(
        str(tmp_path / 'out' / f'snapshot_iter_{golden_1.windows}'), model)
    for name, param in model.namedparams():
        abs_sum, _ = golden_1.final_param_abs_sum_and_sum['/predictor' + name]
        numpy.testing.assert_allclose(
            abs(param.array.astype('d')).sum(), abs_sum, rtol=1e-4)


def test_as_python_would(tmp_path):
    (tmp_path / 'beside.py').write_text('where = __file__\n')
    (tmp_path / 'script.py').write_text(
        'import os, sys, beside\n'
        'print([sys.argv, __name__, __file__, os.path.basename(beside.where)])\n'
        'class A: pass\n'
        'import pickle; assert type(pickle.loads(pickle.dumps(A()))) is A\n'
        'sys.exit(3)\n')
    (tmp_path / 'here').mkdir()
    out, _ = run('../script.py', '-g', '-1', '--api', 'x', cwd=tmp_path / 'here',
                 status=3)
    assert out == ("[['../script.py', '-g', '-1', '--api', 'x'], '__main__', "
                   f"{str(tmp_path / 'here' / '../script.py')!r}, 'beside.py']\n")


def test_exceptions_look_as_in_python(tmp_path):
    path = tmp_path / 'script.py'
    path.write_text('def f():\n    return 1 / 0\nf()\n')
    _, err = run(path, status=1)
    assert err.count('File "') == 2 and 'ZeroDivisionError' in err
    path.write_text('if True print(1)\n')
    _, err = run(path, status=1)
    assert 'SyntaxError' in err and 'Python 2' not in err
    _, err = run(tmp_path / 'none.py', status=2)
    assert 'none.py' in err and 'Traceback' not in err


PYTHON_2 = {
    'print "a"': 1, 'print "%d" % 3,\n': 1, 'x = 1\nprint >>f, x': 2,
    'try:\n    pass\nexcept ValueError, e:\n    pass': 3, 'raise E, "x"': 1,
    'for i in xrange(3):\n    pass': 1, 'x = raw_input()': 1, 'import cPickle': 1,
    'd = {}\nfor k, v in d.iteritems():\n    pass': 2, 'exec "x = 1"': 1,
    'from urllib2 import urlopen': 1, 'x = 0777': 1, 'import commands': 1,
}
PYTHON_3 = (
    'try:\n    xrange\nexcept NameError:\n    xrange = range\nxrange(3)',
    'try:\n    import cPickle as pickle\nexcept ImportError:\n    import pickle',
    'from six.moves import xrange\nfor i in xrange(3):\n    pass',
    'import six\nfor k, v in six.iteritems({}):\n    pass',
    'import sys\nif sys.version_info[0] < 3:\n    range = xrange',
    'from functools import reduce\nreduce(max, [1])', 'def f(unicode):\n    unicode',
)


@pytest.mark.parametrize('text', PYTHON_2)
def test_python_2_is_refused(text, tmp_path):
    path = tmp_path / 'script.py'
    path.write_text(text)
    with pytest.raises(rnnlm.InputError, match='modernize -w') as error:
        source.parse(str(path))
    assert f'script.py:{PYTHON_2[text]}: expected Python 3' in str(error.value)


@pytest.mark.parametrize('text', PYTHON_3)
def test_python_3_is_not(text, tmp_path):
    path = tmp_path / 'script.py'
    path.write_text(text)
    source.parse(str(path))


def test_encoding_that_a_script_names(tmp_path):
    path = tmp_path / 'script.py'
    path.write_bytes('# coding: euc-jp\nprint(len("日本語"))\n'.encode('euc-jp'))
    assert run(path)[0] == '3\n'
    path.write_bytes('print(len("日本語"))\n'.encode('euc-jp'))
    assert 'SyntaxError' in run(path, status=1)[1]
    assert 'without __main__.py' in run(tmp_path, status=2)[1]


def test_python_2_beside_a_script(tmp_path):
    (tmp_path / 'script.py').write_text('import net\n')
    (tmp_path / 'net.py').write_text('print "a"\n')
    _, err = run(tmp_path / 'script.py', status=2)
    assert 'net.py:1' in err and '\n    pip install modernize' in err
    assert 'Traceback' not in err


def test_modules_beside_a_script_count(tmp_path):
    (tmp_path / 'script.py').write_text('import net\n')
    (tmp_path / 'net.py').write_text(
        'import chainer.functions as F\nx = F.dropout(y, train=False)\n')
    _, err = run(tmp_path / 'script.py', status=1)
    assert 'Chainer v1 (1.0 to 1.24), because net.py:2 has F.dropout(train=...)' in err
    _, err = run('--api', 'v2', tmp_path / 'script.py', status=1)
    assert 'since' not in err
    _, err = run('--api', '1.99', tmp_path / 'script.py', status=2)
    assert '--api: expected auto, v1, v2, or a release of Chainer' in err


def test_what_changed_within_v1(script):
    """Until 1.8 wscale was not a root, and L.LSTM drew its weights in another order."""
    lines = '''
        x = np.ones((3, 2), 'f')
        np.random.seed(0)
        a = L.LSTM(2, 3)
        np.random.seed(0)
        up = np.random.normal(0, 2 ** -.5, (12, 2)).astype('f')
        low = np.random.normal(0, 3 ** -.5, (12, 3)).astype('f')
        w = F.Linear(2000, 3, wscale=4).W.data.std() * 2000 ** .5
        given = L.Linear(2, 3, wscale=4, initialW=np.ones((3, 2), 'f')).W.data[0, 0]
        print(json.dumps([bool((a.upward.W.data == up).all()
                               and (a.lateral.W.data == low).all()),
                          round(float(w)), float(given)]))
    '''
    assert script(lines, api='1.8') == [[True, 4, 1]]
    assert script(lines, api='1.9') == script(lines, api='v1') == [[False, 2, 2]]


def test_what_changed_after_v1(script):
    lines = '''
        np.random.seed(0)
        it = chainer.iterators.SerialIterator(np.arange(9), 9)
        print(json.dumps([int(x) for x in it.next() + it.next()]))
    '''
    assert script(lines, api='4.0') == script(lines, api='v1')
    assert script(lines, api='5.0') == script(lines, api='v2') != script(lines)


def test_nothing_is_patched_unasked():
    assert table.ROWS
    with pytest.raises(ValueError, match='train argument is not supported'):
        F.dropout(numpy.zeros(3, 'f'), train=False)
    for name in 'FunctionSet', 'Flag', 'ON':
        assert not hasattr(chainer, name)
    assert not hasattr(chainer.Variable, 'volatile')
    assert not hasattr(chainer.Optimizer, 'zero_grads')
    assert chainer.serializers.load_npz.__module__ == 'chainer.serializers.npz'


def test_every_row_names_something(script):
    # A row without an existing owner has a typo in Chainer's name.
    assert script('''
        from rnnlm.legacy import table
        for row in table.ROWS:
            owner, _, name = row.name.rpartition('.')
            assert hasattr(table._find(owner), name), row.name
            assert row.since and row.instead
        print(json.dumps(len(table.ROWS)))
    ''', '1.4') == [len(table.ROWS)]  # a release for which each row does something


def test_dropout_by_its_flag_alone(script):
    on, off, configured = script('''
        x = np.ones((50, 50), 'f')
        with chainer.using_config('train', False):
            print(json.dumps(float((F.dropout(x).data == 0).mean())))
        print(json.dumps(float((F.dropout(x, train=False).data == 0).mean())))
        print(json.dumps(float((F.dropout(x, 0.2, True).data == 0).mean())))
    ''')
    assert 0.4 < on < 0.6 and off == 0 and 0.15 < configured < 0.25


def test_volatile_spreads(script):
    assert script('''
        x = Variable(np.ones((2, 3), 'f'), volatile='on')
        l = L.Linear(3, 4)
        y = l(x)
        print(json.dumps([str(y.volatile), y.creator is None, bool(y.volatile),
                          y.volatile == 'on', y.volatile is chainer.ON]))
        z = l(Variable(np.ones((2, 3), 'f')))
        print(json.dumps([str(z.volatile), z.creator is None, str(l.W.volatile)]))
        for mixed in (lambda: F.concat((y, l(Variable(x.data, volatile=False)))),):
            try:
                mixed()
            except ValueError as e:
                print(json.dumps(str(e)))
        lstm = L.LSTM(3, 4)
        print(json.dumps([str(lstm(x).volatile), str(lstm.c.volatile)]))
        p = L.Parameter(np.ones(3, 'f'))
        print(json.dumps([str(p(volatile='on').volatile), str(p().volatile)]))
        v = Variable(x.data); v.volatile = 'auto'
        print(json.dumps(str(v.volatile)))
    ''') == [['ON', True, True, True, True], ['OFF', False, 'AUTO'],
             'ON and OFF flags cannot be mixed.', ['ON', 'ON'], ['ON', 'OFF'], 'AUTO']


def test_memory_of_volatile_evaluation_is_flat(script):
    early, late = script('''
        import re
        def held():
            with open('/proc/self/status') as f:
                return int(re.search('VmRSS:[^0-9]*([0-9]+)', f.read()).group(1))
        embed, lstm, out = L.EmbedID(50, 16), L.LSTM(16, 16), L.Linear(16, 50)
        total = 0
        for k in range(10000):
            x = Variable(np.array([k % 50], 'i'), volatile='on')
            y = out(lstm(embed(x)))
            total += float(F.softmax_cross_entropy(y, x).data)
            if k in (1000, 9999):
                print(json.dumps(held()))
    ''')
    assert late < 1.05 * early


def test_function_set(script):
    shapes, order, grads, copied, loaded = script('''
        import pickle
        model = chainer.FunctionSet(b=F.Linear(3, 4), a=F.EmbedID(5, 3))
        model.c = F.Linear(2, 2, nobias=True)
        model.c = F.Linear(3, 2, nobias=True)
        print(json.dumps([p.shape for p in model.parameters]))
        print(json.dumps([name for name, _ in model.namedparams()]))
        for p in model.parameters:
            p[:] = 0.5
        model.b.W[0] = 2
        optimizer = chainer.optimizers.SGD(1.0)
        optimizer.setup(model.collect_parameters())
        optimizer.zero_grads()
        optimizer.accumulate_grads(np.ones_like(p.data) for p in model.params())
        norm = optimizer.compute_grads_norm()
        optimizer.clip_grads(1.0)
        chainer.optimizer.WeightDecay(0.06)(optimizer)
        optimizer.weight_decay(0.04)
        optimizer.update()
        print(json.dumps([norm ** 2, optimizer.compute_grads_norm() > 1,
                          float(model.gradients[0][0, 0]), float(model.b.gb[0])]))
        other = chainer.FunctionSet(b=F.Linear(3, 4), a=F.EmbedID(5, 3),
                                    c=F.Linear(3, 2, nobias=True))
        other.copy_parameters_from(model.parameters)
        print(json.dumps(bool((other.b.W.data == model.b.W.data).all())))
        again = pickle.loads(pickle.dumps(model, -1))
        print(json.dumps(bool((np.asarray(again['b'].W) == model.b.W.data).all())))
    ''')
    assert shapes == [[5, 3], [4, 3], [4], [2, 3]]
    assert order == ['/b/W', '/b/b', '/a/W', '/c/W']
    numpy.testing.assert_allclose(grads, [37, True] + [37 ** -.5 + .05] * 2, rtol=1e-5)
    assert copied and loaded


def test_arguments_of_links(script):
    wide, bias, forget, gru, stateless, tuples = script('''
        np.random.seed(0)
        a = L.Linear(400, 300, 4, 0.5)
        print(json.dumps(float(a.W.data.std())))
        print(json.dumps([float(a.b.data[0]), L.Linear(3, 4, 1, 0, True).b is None]))
        print(json.dumps(float(abs(L.LSTM(3, 4).upward.b.data).sum())))
        g = L.GRU(4, 3)
        h = g(Variable(np.zeros((2, 4), 'f')), Variable(np.ones((2, 3), 'f')))
        print(json.dumps(h.data.shape))
        c, h = L.StatelessLSTM(3, 4)(None, None, Variable(np.ones((2, 3), 'f')))
        print(json.dumps(h.data.shape))
        x = np.arange(6, dtype='f').reshape(2, 3)
        print(json.dumps([type(F.split_axis(x, 1, 1)).__name__,
                          type(F.split_axis(x, 3, 1)).__name__,
                          F.matmul(x[0], x[1], transa=True).data.tolist()]))
    ''')
    assert abs(wide / (2 / 20) - 1) < 0.02
    assert bias == [0.5, True] and forget == 0
    assert gru == [2, 4] and stateless == [2, 4]
    assert tuples == ['Variable', 'tuple', [[14.0]]]


def test_other_flags(script):
    assert script('''
        bn = L.BatchNormalization(3)
        x = np.random.randn(8, 3).astype('f') + 5
        before = bn.avg_mean.copy()
        bn(Variable(x), test=True)
        print(json.dumps(bool((bn.avg_mean == before).all())))
        with chainer.using_config('train', False):
            bn(Variable(x))
        print(json.dumps(bool((bn.avg_mean == before).all())))
        rnn = L.NStepLSTM(2, 3, 4, 0.5, use_cudnn=False)
        xs = [np.ones((5, 3), 'f')]
        one, two = (rnn(None, None, xs, train=False)[2][0].data for _ in range(2))
        print(json.dumps(bool((one == two).all())))
        one, two = (rnn(None, None, xs)[2][0].data for _ in range(2))
        print(json.dumps(bool((one == two).all())))
        t = np.zeros(8, 'i')
        print(json.dumps(float(F.softmax_cross_entropy(x, t, False, False).data)
                         == float(F.softmax_cross_entropy(x, t).data)))
    ''') == [True, False, True, False, True]


def test_removed_names_raise_an_explanation(script):
    for lines, words in (
            ('F.Sigmoid()(3)', ['chainer.functions.Sigmoid', '5.0', 'sigmoid']),
            ('cuda.mem_alloc(3)', ['chainer.cuda.mem_alloc', '1.3', 'CuPy']),
            ('chainer.optimizers.SGD().update_one(1, 2)',
             ['chainer.Optimizer.update_one', '2.0', 'UpdateRule'])):
        err = script(lines, status=1)
        for word in words:
            assert word in err
    err = script('F.nothing_of_the_kind', status=1)
    assert "has no attribute 'nothing_of_the_kind'" in err
    assert script('''
        from chainer.flag import Flag
        from chainer.functions.activation.lstm import lstm
        from chainer.links.connection.lstm import LSTM
        assert LSTM is L.LSTM and Flag('on') is chainer.ON
        print(json.dumps([hasattr(cuda, 'gpuarray'), hasattr(F, 'Tanh')]))
    ''') == [[False, False]]


def test_surroundings(script):
    assert script('''
        import collections, time
        print(json.dumps([np.zeros(2, np.int).dtype.kind, np.float is float,
                          np.product([2, 3]).item(), time.clock() > 0,
                          isinstance([], collections.Iterable), np.NaN != np.NaN]))
    ''', api='v2') == [['i', True, 6, True, True, True]]


def test_load_npz_runs_no_code(script, tmp_path):
    victim = tmp_path / 'made by a pickle'

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(victim),)

    numpy.savez(tmp_path / 'evil.npz', W=numpy.array([Evil()], dtype=object))
    for api in 'v1', 'v2':
        err = script(f'''
            model = L.EmbedID(2, 3)
            chainer.serializers.load_npz({str(tmp_path / 'evil.npz')!r}, model)
        ''', api=api, status=1)
        assert 'InputError' in err and 'is a pickle' in err
    assert not victim.exists()


EXPECTED = json.loads((SCRIPTS / 'expected.json').read_text())


@pytest.mark.parametrize('name', EXPECTED)
def test_scripts_of_each_era(name, tmp_path):
    """The same numbers as with the release of Chainer that they were written for."""
    (tmp_path / 'out').mkdir()
    for record in EXPECTED[name]:
        args = [arg.format(text=SCRIPTS / 'text.txt', out=tmp_path / 'out')
                for arg in record['args']]
        out, _ = run(SCRIPTS / name, *args)
        names, expected = zip(*record['lines'])
        numpy.testing.assert_allclose(
            numbers(out, *names), expected, rtol=1e-4,
            err_msg=f'{name} on {record["release"]}')
