"""Files written by versions of PyTorch, compared with what their models computed.

recorded/make_pytorch.py recorded both.
"""

import chainer
import numpy
import pytest
import recorded

import rnnlm
from rnnlm.interchange import convert, inspecting
from rnnlm.interchange.weights import check_model


def log_softmax(x):
    return x - numpy.log(numpy.exp(x).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize('archive, name, entry', list(recorded.cases('pytorch')))
def test_recorded_file(archive, name, entry, write):
    path = write(name, recorded.members(archive)[name])
    if 'refused' in entry:
        with pytest.raises(rnnlm.InputError, match=entry['refused']):
            convert.load(path)
        found = inspecting.describe(path)
        assert found['model'] is None and found['refused']
        return
    weights, vocabulary, *_ = convert.load_model(path)
    model = check_model(weights).build(dropout=0)
    for key, param in model.namedparams():
        param.array[...] = weights[key.strip('/')]
    with chainer.using_config('train', False):
        logits = model.logits(numpy.array(entry['ids'], 'i')).array
    expected = numpy.array(entry['output'])
    numpy.testing.assert_allclose(
        log_softmax(logits), log_softmax(expected), rtol=0, atol=1e-6)
    assert numpy.ptp(expected) > .05
    assert (vocabulary and list(vocabulary.words)) == entry['tokens']
    found = inspecting.describe(path)
    assert found['format'] == 'PyTorch' and found['refused'] is None
    old = not recorded.members(archive)[name].startswith(b'PK')
    assert found['written by'].startswith(
        'PyTorch before 1.6' if old else 'PyTorch 1.6 or later')


def test_there_are_recorded_files():
    """Of both formats."""
    assert len(recorded.archives('pytorch')) >= 2
