"""The release that a script was written for: small scripts in the idioms of each."""
import os
import textwrap

import pytest

import rnnlm
from rnnlm.legacy import releases, source, verdict

IMPORTS = '''\
import chainer
import chainer.functions as F
import chainer.links as L
from chainer import cuda, optimizers, serializers, training, Variable
from chainer.training import extensions
'''


def judge(text, folder, imports=''):
    path = folder / 'script.py'
    path.write_text(imports + textwrap.dedent(text))
    return verdict.of_script(str(path), source.parse(str(path)))


@pytest.mark.parametrize('text, api', [
    ('F.dropout(x, train=False)', 'v1'), ('F.dropout(x, 0.5, train)', 'v1'),
    ('Variable(x, volatile=True)', 'v1'), ('m = chainer.FunctionSet(l=1)', 'v1'),
    ('from chainer import FunctionSet', 'v1'), ('F.Linear(3, 4)', 'v1'),
    ('L.Linear(3, 4)', 'v2'), ('F.softmax(x, use_cudnn=False)', 'v1'),
    ('o = optimizers.SGD()\no.zero_grads()', 'v1'), ('m.zerograds()', 'v1'),
    ('cuda.init(0)', 'v1'), ('chainer.config.train = False', 'v2'), ('x = 1', 'v2'),
    ('extensions.snapshot(trigger=(1, "epoch"))', 'v1'), ('f(x, train=False)', 'v2'),
    ('if two: chainer.config.train = False\nelse: F.dropout(x, train=False)', 'v2'),
    # The last releases of v1 already had these.
    ('l = L.LSTM(2, 2)\nwith chainer.no_backprop_mode(): F.dropout(x, .5, False)',
     'v1'),
    ('cuda.get_device_from_id(0).use()\nL.Linear(3, 4, wscale=2)', 'v1'),
    # Names that are not Chainer's do not count.
    ('import helper\nhelper.Sequential()\nF.dropout(x, train=False)', 'v1'),
    ('def dropout(x, train): return x\ndropout(x, train=False)', 'v2'),
    ('F = object()\nF.Linear(3, 4)', 'v2'),
    ('import numpy as np\nnp.array([1])\nF.relu(x, use_cudnn=True)', 'v1'),
    # The type of a variable follows from how it was made.
    ('x = Variable(a)\nx.array', 'v2'), ('y = F.tanh(x)\ny.volatile', 'v1'),
    ('h = F.tanh(x)\nfor p in L.Linear(2, 3).params(): p.array', 'v2'),
    ('class U(training.StandardUpdater):\n    def __init__(self, a, b):\n'
     '        training.StandardUpdater.__init__(self, a, b, device=0)\n'
     'F.relu(1, use_cudnn=True)', 'v1'),
    ('class B(chainer.Function):\n    def __init__(self):\n'
     '        super(B, self).__init__()\nchainer.config.train = False', 'v2'),
    # A guarded use does not count.
    ('try:\n    chainer.config.train = False\nexcept AttributeError:\n    pass\n'
     'F.dropout(x, train=False)', 'v1'),
    ('try:\n    from chainer import using_config\nexcept ImportError:\n    pass', 'v2'),
    ('if hasattr(chainer, "config"):\n    chainer.config.train = 0\n'
     'else:\n    F.dropout(x, train=False)', 'v2'),
    ('if chainer.__version__ < "2":\n    F.dropout(x, train=False)\n'
     'else:\n    chainer.config.train = False', 'v2'),
])
def test_one_sign(text, api, tmp_path):
    found = judge(text, tmp_path, IMPORTS.replace(
        'training, ', 'training, ' if 'extensions' in text else ''))
    assert found.api == api and found.reason


CHAIN = '''
class Net(chainer.Chain):
    def __init__(self):
        super(Net, self).__init__(l1=L.LSTM(2, 3), l2=L.Linear(3, 2))
'''


@pytest.mark.parametrize('lines, api', [
    ('', 'v1'), ('net = Net()\nnet.l1.reset_state()', 'v1'),
    ('    def forward(self, x): return self.l2(self.l1(x))\nNet()(1)', 'v2'),
    ('    def __call__(self, x): return self.l2(self.l1(x))\nNet()(1)', 'v1'),
    ('    def __call__(self, x): return self.l2(self.l1(x))\ny = Net()(1)\ny.array',
     'v2'),
    ('net = Net()\nchainer.get_dtype()', 'v2'),
    ('net = Net()\ncuda.get_device_from_id(0).use()\nnet.to_gpu()', 'v1'),
    ('net = Net()\nnet.to_device(0)', 'v2'), ('print(loss.array)', 'v2'),
    ('net = Net()\nprint(f"{net}")', 'v2'), ('h = F.dropout(net(x))', 'v2'),
    ('cuda.get_device(0).use()\nh = F.dropout(net(x))', 'v2'),
    ('net = Net()\ncuda.get_device(0).use()', 'v1'),
    ('class Mine(chainer.optimizer.GradientMethod):\n'
     '    def update_one_cpu(self, param, state): pass\nprint(f"")', 'v1'),
    ('class Mine(chainer.optimizer.GradientMethod):\n'
     '    def create_update_rule(self): pass', 'v2'),
    ('class Mine:\n    def update_one_cpu(self, param, state): pass\n'
     'h = F.dropout(x)', 'v2'),
    ('# for Chainer 1.24\nh = F.dropout(net(x))', 'v1'),
    ('# Chainer v4.1\nnet = Net()', 'v2'),
])
def test_links_as_arguments(lines, api, tmp_path):
    assert judge(CHAIN + lines, tmp_path, IMPORTS).api == api


def test_requirements_beside_the_script(tmp_path):
    (tmp_path / 'requirements.txt').write_text('numpy\nchainer==3.2.0\n')
    assert judge(CHAIN, tmp_path, IMPORTS).api == 'v2'


@pytest.mark.parametrize('base, line, version', [
    ('chainer.Chain', 'self.device = gpu', (5, 4, 0)),
    ('L.Linear', 'self.update_enabled = gpu', (1, 24, 0)),
    ('training.StandardUpdater', 'self.device = gpu', (5, 4, 0)),
    ('chainer.iterators.SerialIterator', 'self.epoch = 0', (5, 4, 0)),
    # These can be set today too, or are the script's own.
    ('training.StandardUpdater', 'self.gpu = gpu', (7, 8, 1)),
    ('chainer.dataset.Iterator', 'self.epoch = 0', (7, 8, 1)),
    ('object', 'self.device = gpu', (7, 8, 1)),
    ('chainer.Chain', 'self.device = gpu\n    device = property(1, 2)', (7, 8, 1)),
    ('chainer.Chain', 'self.gpu = self.device', (7, 8, 1)),
    ('chainer.Chain', 'if hasattr(self, "device"): self.device = gpu', (7, 8, 1)),
])
def test_attributes_that_are_properties_now(base, line, version, tmp_path):
    found = judge(f'''
class Net({base}):
    def __init__(self, gpu):
        super().__init__()
        {line}
x = chainer.Variable(1)
chainer.config.train
''' if version > (2,) else f'''
class Net({base}):
    def __init__(self, gpu):
        {line}
''', tmp_path, IMPORTS)
    assert found.version == version, found


@pytest.mark.parametrize('name, text, version', [
    ('requirements.txt', 'six\nchainer==1.8.2\n', (1, 8, 2)),
    ('environment.yml', '  - chainer=1.20', (1, 20, 0, 1)),
    # Not exact, several, of another package, or lacking what the script uses.
    ('requirements.txt', 'chainer>=1.8.2', (1, 24, 0)),
    ('README.md', 'chainer==1.8.2 or chainer==1.20', (1, 24, 0)),
    ('requirements.txt', 'my-chainer==1.8.2', (1, 24, 0)),
    ('requirements.txt', 'chainer==3.2.0', (1, 24, 0)),
])
def test_a_release_that_is_required_exactly(name, text, version, tmp_path):
    (tmp_path / name).write_text(text)
    found = judge('L.Linear(3, 4, wscale=2)', tmp_path, 'import chainer.links as L\n')
    assert found.version == version
    assert ('has chainer==' in found.reason) == (version < (1, 24))


@pytest.mark.parametrize('name, text, api', [
    ('README.md', '* [Chainer](https://chainer.org/) >= 1.15.0', 'v1'),
    ('README.rst', 'Tested with `chainer` version 3.1', 'v2'),
    ('README.md', 'onnx-chainer==1.3.3 and chainermn==1.3', 'v2'),
    ('setup.py', "install_requires=['numpy', 'chainer>=1.5.1']", 'v1'),
    ('environment.yml', '  - chainer=1.24.0', 'v1'),
])
def test_files_that_state_the_release(name, text, api, tmp_path):
    """This sign competes with another one, dropout without train."""
    (tmp_path / name).write_text(text)
    assert judge('h = F.dropout(net(x))\noptimizers.SGD()', tmp_path, IMPORTS
                 ).api == ('v2' if '>=' in text else api)
    assert judge('net = L.Linear(2, 3)', tmp_path, IMPORTS).api == api


def test_one_line_is_named_once(tmp_path):
    found = judge('def f(x, use_cudnn=True): F.SoftmaxCrossEntropy(use_cudnn, True)',
                  tmp_path, IMPORTS)
    assert found.api == 'v1'
    assert found.reason.count('SoftmaxCrossEntropy') == 1, found.reason


def test_exact_release(tmp_path):
    found = judge('with chainer.no_backprop_mode():\n    Variable(x, volatile=True)',
                  tmp_path, IMPORTS)
    assert found.releases == '1.16 to 1.24' and found.version == (1, 24, 0)
    assert 'script.py:6 has chainer.no_backprop_mode, added in 1.16' in found.reason
    assert 'script.py:7 has Variable(volatile=...), removed in 2.0' in found.reason
    found = judge('import chainer\nchainer.cuda.mem_alloc(3)', tmp_path)
    assert found.releases == '1.0 to 1.2' and found.version == (1, 2, 0)


def test_a_script_mixed_of_two(tmp_path):
    found = judge('''
        chainer.config.train = False
        chainer.using_config('train', True)
        F.dropout(x, train=False)
    ''', tmp_path, IMPORTS)
    assert found.api == 'v2'
    assert 'but script.py:9 has F.dropout(train=...), removed in' in found.reason


def test_modules_of_its_own(tmp_path, monkeypatch):
    sign = 'import chainer.functions as F\nF.dropout(1, train=False)\n'
    for name, text in {
            'pk/__init__.py': '', 'pk/net/__init__.py': 'from . import out\n',
            'pk/net/out.py': 'from ..deep import *\n', 'pk/deep.py': sign}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    found = judge('from pk.net import out', tmp_path)
    assert found.api == 'v1'
    assert os.path.join('pk', 'deep.py') + ':2 has F.dropout(train=...)' in found.reason
    assert judge('x = 1', tmp_path).api == 'v2'

    (tmp_path / 'examples').mkdir()
    (tmp_path / 'above.py').write_text(sign)
    for line in ('sys.path.append(os.pardir)', 'sys.path.insert(0, "..")',
                 'sys.path.append(os.path.join(os.path.dirname(__file__), ".."))',
                 'sys.path.append(os.path.dirname(os.path.dirname('
                 'os.path.abspath(__file__))))',
                 'sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))'
                 ):
        found = judge(f'import os, sys, pathlib\n{line}\nimport above',
                      tmp_path / 'examples')
        assert found.api == 'v1', line


def test_a_module_named_chainer_beside_the_script(tmp_path):
    (tmp_path / 'chainer.py').write_text('config = 1\n')
    assert judge('import chainer\nchainer.FunctionSet()', tmp_path).releases == (
        '1.0 to 7.8.1')


def test_python_2_modules_of_its_own(tmp_path):
    (tmp_path / 'commands.py').write_text('x = 1\n')
    judge('import commands', tmp_path)
    (tmp_path / 'old.py').write_text('print "a"\n')
    with pytest.raises(rnnlm.InputError, match='old.py:1'):
        judge('import old', tmp_path)
    judge('try:\n    import old\nexcept ImportError:\n    pass', tmp_path)


def test_strange_sources(tmp_path):
    """Long chains are quick; deep expressions and circular classes are harmless."""
    chain = 'x = a' + '.b()' * 60 + '\n'
    deep = 'y = ' + '+'.join(['1'] * 900) + '\n'
    circle = 'class A: pass\nclass B(A): pass\nA.__bases__ = (B,)\nclass A(B): pass\n'
    found = judge(chain + circle + deep + 'F.dropout(x, train=False)\n', tmp_path,
                  IMPORTS)
    assert found.api == 'v1'
    assert judge('', tmp_path).api == 'v2'


def test_versions():
    table = releases.load()
    assert table.named('1.24') == table.named('1') == (1, 24, 0)
    assert table.named('1.15') == (1, 15, 0, 1) and table.named('7.8.1')[:2] == (7, 8)
    for text in 'v3', '1.25', 'x', '', '1.':
        with pytest.raises(rnnlm.InputError, match='a release of Chainer'):
            table.named(text)
