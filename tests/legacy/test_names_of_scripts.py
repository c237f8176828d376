"""Names in scripts that only look like Python 2's, NumPy's or this package's."""
import ast
import subprocess
import sys

from helpers import refused
import numpy
import pytest

from rnnlm.legacy import python2, rewriting, runner


def rewritten(text):
    space = {}
    exec(compile(rewriting.rewrite(ast.parse(text)), 'script', 'exec'), space)
    return space


@pytest.mark.parametrize('first', [
    'from math import exp, log, sqrt', 'from math import *', 'import math',
    'import math as m', 'from math import exp as e'])
def test_functions_of_math_beside_those_of_numpy(first):
    found = rewritten(f'''
import numpy as np
import numpy
{first}
class Layer:
    def log(self, x):
        return x
one = np.ones((1, 1), 'f')
a, b, c = np.exp(one), numpy.log(one), Layer().log(one)
''')
    for name in 'abc':
        assert found[name].shape == (1, 1), name


@pytest.mark.parametrize('call', [
    'from math import exp\nx = exp(one)', 'from math import *\nx = exp(one)',
    'import math\nx = math.exp(one)', 'import math as m\nx = m.exp(one)',
    'from math import exp as e\nx = e(one)', 'x = float(one)', 'x = int(one)'])
def test_functions_of_math_take_an_array_of_one_element(call):
    found = rewritten('import numpy as np\none = np.ones((1, 1))\n' + call)
    assert found['x'] == pytest.approx(numpy.exp(1) if 'e(' in call or 'exp' in call
                                       else 1)


@pytest.mark.parametrize('text', [
    'class A:\n    def iteritems(self):\n        return []\nA().iteritems()',
    'class A:\n    def has_key(self, k):\n        return 1\nA().has_key(1)',
    'import sys\nis_3 = sys.version_info[0] >= 3\nif is_3:\n    import pickle\n'
    'else:\n    import cPickle as pickle',
    'd = {}\nx = d.iteritems() if hasattr(d, "iteritems") else d.items()',
    'import pandas as pd\nfor k in pd.DataFrame().iteritems():\n    pass'])
def test_valid_python_3(text):
    assert python2.first_name(ast.parse(text), '.') is None


@pytest.mark.parametrize('text', [
    'd = {}\nd.iteritems()', 'import cPickle', 'x = 3\nif x:\n    import cPickle'])
def test_python_2(text):
    assert python2.first_name(ast.parse(text), '.') is not None


@pytest.mark.parametrize('text, meant', [
    ('def f(x:\n    pass', False), ('"""Calls `f`."""\ndef f(x:\n    pass', False),
    ('"""\n  print the sum\n"""\nx = (', False), ('print "a"', True),
    ('x = `1`', True), ('if 1 <> 2:\n    pass', True),
    ('"""Calls `f`."""\nraise ValueError, "a"', True)])
def test_what_is_called_python_2(text, meant):
    with pytest.raises(SyntaxError) as e:
        ast.parse(text)
    assert python2.is_meant(e.value, text) == meant


@pytest.mark.parametrize('own', ['rnnlm.py', 'rnnlm/__init__.py'])
def test_a_module_of_the_script_named_like_this_package(own, tmp_path):
    path = tmp_path / own
    path.parent.mkdir(exist_ok=True)
    path.write_text('class RNNLM:\n    pass\n')
    (tmp_path / 'other.py').write_text('print("hello")\n')
    runner._refuse_own_rnnlm(str(tmp_path / 'other.py'))  # nothing imports it
    (tmp_path / 'train.py').write_text('from rnnlm import RNNLM\n')
    with refused('expected another name for this module', 'train.py'):
        runner.run(str(tmp_path / 'train.py'))


def test_a_folder_is_searched_itself_not_the_one_above(tmp_path):
    (tmp_path / 'rnnlm.py').write_text('')
    (tmp_path / 'other.py').write_text('import rnnlm\n')
    folder = tmp_path / 'script'
    folder.mkdir()
    (folder / '__main__.py').write_text('import rnnlm\n')
    runner._refuse_own_rnnlm(str(folder))
    (folder / 'rnnlm.py').write_text('')
    with refused('expected another name for this module', '__main__.py'):
        runner._refuse_own_rnnlm(str(folder))


NEW_EPOCH = '''
import chainer
from chainer import training
import numpy as np
model = chainer.links.Classifier(chainer.links.Linear(3, 2))
optimizer = chainer.optimizers.SGD(1.0)
optimizer.setup(model)
data = chainer.datasets.TupleDataset(np.ones((4, 3), 'f'), np.zeros(4, 'i'))
updater = training.StandardUpdater(
    chainer.iterators.SerialIterator(data, 2), optimizer, device=-1)
trainer = training.Trainer(updater, (2, 'epoch'), out='out')
trainer.extend(lambda t: optimizer.new_epoch(), trigger=(1, 'epoch'), name='halve')
trainer.run()
print(optimizer.epoch, updater.device >= 0)
'''


@pytest.mark.parametrize('api', ['1.24', '3.5', '4.5'])
def test_until_5_a_script_counts_epochs_and_devices_are_numbers(api, tmp_path):
    (tmp_path / 'script.py').write_text(NEW_EPOCH)
    result = subprocess.run(
        [sys.executable, '-m', 'rnnlm', 'run', '--api', api, 'script.py'],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.split() == ['2', 'False'], result.stderr
