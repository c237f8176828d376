"""Rates and weights that float32 cannot compute with: one message, no warning."""
import numpy
import pytest

import rnnlm
from rnnlm.app import cli

SMALL = '-u 4 -b 4 -l 5 -e 2'.split()
TEXT = 'the cat sat on the mat\n' * 60


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').write_text(TEXT)


@pytest.mark.parametrize('more', [
    [], ['--optimizer', 'adam'], ['--softmax', 'adaptive'], ['--sentences']])
@pytest.mark.parametrize('rate', ['1e20', '1e30', '1e38', '1e300'])
def test_a_rate_that_is_too_high(here, capsys, rate, more):
    # The tests turn NumPy's warnings into errors.
    assert cli.main(['train', '--corpus', 'text', *SMALL, '--lr', rate, *more]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and 'ower the learning rate' in err


@pytest.mark.parametrize('rate', ['1e20', '1e30', '1e300'])
@pytest.mark.parametrize('rule', ['sgd', 'rms'])
def test_dynamic_evaluation_at_a_rate_that_is_too_high(here, capsys, rule, rate):
    assert cli.main(['train', '--corpus', 'text', *SMALL]) == 0
    capsys.readouterr()
    assert cli.main(['evaluate', '--dynamic', rule, '--dynamic-lr', rate]) == 1
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1 and 'lower --dynamic-lr' in err


@pytest.mark.parametrize('scale', [1e20, 1e38])
@pytest.mark.parametrize('args', [
    ['evaluate'], ['evaluate', '--sentences'], ['evaluate', '--dynamic', 'sgd'],
    ['score', 'result', 'text', '-q'], ['interpolate', 'result', 'result'],
    ['generate'], ['generate', '--beam', '2']])
def test_weights_that_are_too_large(here, capsys, args, scale):
    assert cli.main(['train', '--corpus', 'text', *SMALL]) == 0
    model = rnnlm.load('result').model
    for param in model.params():
        param.array[:] = numpy.sign(param.array) * scale
    rnnlm.save_npz('result/model.npz', model)
    capsys.readouterr()
    status = cli.main(args)
    err = capsys.readouterr().err
    assert (status, err) == (0, '') or (
        status in (1, 2) and len(err.splitlines()) == 1 and 'error: ' in err)
