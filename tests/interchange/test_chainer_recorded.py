"""Files written by versions of Chainer, for models with names unlike `RNNForLM`'s.

recorded/make_chainer.py recorded them, and what the models computed.
"""

import chainer
import numpy
import pytest
import recorded

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert, d2l, inspecting, textbook
from rnnlm.interchange.weights import check_model
from layouts import draw, model_shapes


def logits_of(weights, ids):
    model = check_model(weights).build(dropout=0)
    for key, param in model.namedparams():
        param.array[...] = weights[key.strip('/')]
    with chainer.using_config('train', False):
        return model.logits(numpy.array(ids, 'i')).array


@pytest.mark.parametrize('archive, name, entry', list(recorded.cases('chainer')))
def test_recorded_file(archive, name, entry, write, capsys):
    path = write(name, recorded.members(archive)[name])
    assert cli.main(['inspect', path]) == 0
    said = capsys.readouterr().out
    if 'refused' in entry:
        with pytest.raises(rnnlm.InputError, match=entry['refused']):
            convert.load(path)
        with pytest.raises(rnnlm.InputError):
            rnnlm.load(path)
        assert inspecting.describe(path)['model'] is None and 'model    none: ' in said
        return
    expected = numpy.array(entry['output'])
    numpy.testing.assert_allclose(
        logits_of(convert.load(path), entry['ids']), expected, rtol=0, atol=2e-6)
    assert numpy.ptp(expected) > .05
    assert 'note     embed is ' in said and 'vocabulary 7' in said


def test_there_are_recorded_files():
    assert len(recorded.archives('chainer')) >= 3


def chainers(path, model):
    chainer.serializers.save_npz(path, model)
    return path


def test_what_a_model_has_beyond_its_names(tmp_path, write):
    path = str(tmp_path / 'model.npz')
    model = rnnlm.RNNForLM(9, 4)
    with model.init_scope():
        model.scale = chainer.Parameter(1., (4,))
    chainers(path, chainer.links.Classifier(model))
    target = rnnlm.RNNForLM(9, 4)
    before = target.l1.upward.W.array.copy()
    for read in (lambda: rnnlm.load_model(path, target), lambda: rnnlm.load(path),
                 lambda: convert.load(path)):
        with pytest.raises(rnnlm.InputError, match="others, found 'predictor/scale'"):
            read()
    numpy.testing.assert_array_equal(target.l1.upward.W.array, before)
    rnnlm.load_model(path, target, strict=False)
    numpy.testing.assert_array_equal(target.embed.W.array, model.embed.W.array)
    rnnlm.load_model(path, model)  # which has a place for it
    assert inspecting.describe(path)['refused']


def test_parameters_of_a_classifier(tmp_path):
    path = str(tmp_path / 'model.npz')
    first, other = (chainer.links.Classifier(rnnlm.RNNForLM(9, 4)) for _ in range(2))
    for classifier, value in ((first, 2.), (other, 1.)):
        with classifier.init_scope():
            classifier.temperature = chainer.Parameter(value, ())
    chainers(path, first)
    with pytest.raises(rnnlm.InputError, match="found 'temperature'"):
        rnnlm.load_model(path, other.predictor)
    rnnlm.load_model(path, other)
    assert other.temperature.array == 2
    numpy.testing.assert_array_equal(
        other.predictor.embed.W.array, first.predictor.embed.W.array)


@pytest.mark.parametrize('module, names', [
    (textbook, ('Why', 'by')), (d2l, ('W_hq', 'b_q'))])
@pytest.mark.parametrize('one_hot', [True, False])
def test_plain_numpy(module, names, one_hot, tmp_path):
    m = 5 if one_hot else 3
    weights = draw(model_shapes(5, m, 4, 1), 'f4')
    if one_hot:
        weights['embed/W'] = numpy.eye(5, dtype='f4')
    tensors = module.export_layer(
        {name[3:]: array for name, array in weights.items() if name.startswith('l1')})
    W, b = names
    tensors.update({W: weights['l2/W'].T if module is d2l else weights['l2/W'],
                    b: weights['l2/b']})
    if not one_hot:
        tensors['E'] = weights['embed/W']
    path = str(tmp_path / 'a.npz')
    numpy.savez(path, **tensors)
    found = convert.load(path)
    assert sorted(found) == sorted(weights)
    for name, array in weights.items():
        numpy.testing.assert_array_equal(found[name], array, err_msg=name)
    numpy.savez(path, **tensors, more=numpy.ones(3, 'f4'))
    with pytest.raises(rnnlm.InputError, match='expected one bias'):
        convert.load(path)


@pytest.mark.parametrize('name', ['other_names.npz', 'espnet.npz', 'old.npz',
                                  'nstep.npz'])
def test_arrays_that_are_otherwise(name, write, tmp_path):
    path = write(name, recorded.members('chainer-7.8.1.tar.xz')[name])
    with numpy.load(path) as f:
        whole = {key: f[key] for key in f.files}
    path = str(tmp_path / 'a.npz')
    for key, array in whole.items():
        for other in (None, array[0], array[..., 0], array[None], array[:0], array.T,
                      array[:-1], array[..., :-1], array.astype('i4'), array[None] * 0,
                      array.astype('f8'), numpy.array(1., 'f4')):
            changed = {**whole, key: other}
            if other is None:
                del changed[key]
            elif other.shape == array.shape and other.dtype == array.dtype:
                continue  # a square matrix, transposed
            numpy.savez(path, **changed)
            if other is None and key.endswith('/b'):  # the output layer may lack it
                inspecting.describe(path)
                continue
            with pytest.raises(rnnlm.InputError):
                convert.load(path)
            assert inspecting.describe(path)['model'] is None
