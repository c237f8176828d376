"""A damaged model.npz is never loaded as a different model."""
import json
import os
import zipfile

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.interchange import convert
from rnnlm.serializers.archive import open_archive, open_verified
from rnnlm.serializers.npz import Npz

# Sampled bits of the member list; CONTRIBUTING says how to test all.
EVERY = 1 if int(os.environ.get('RNNLM_FUZZ_FILES', 10000)) >= 10000 else 7


def make(tied=False, seed=3):
    numpy.random.seed(seed)
    return rnnlm.RNNForLM(5, 3, 1, tied=tied)


def weights(model):
    return {name: param.array.copy() for name, param in model.namedparams()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        numpy.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture
def by_others(tmp_path):
    """Writes files without a digest, as other programs do."""
    def write(name, arrays):
        path = str(tmp_path / name)
        with open(path, 'wb') as f:
            numpy.savez(f, **arrays)
        return path
    return write


def bits_of_the_list(path):
    with zipfile.ZipFile(path) as z:
        start = z.start_dir
    return range(8 * start, 8 * os.path.getsize(path))


@pytest.mark.slow
@pytest.mark.parametrize('digest', [True, False])
@pytest.mark.parametrize('tied', [False, True])
def test_every_bit_of_the_list_of_members(tmp_path, tied, digest, by_others):
    model = make(tied)
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, model)
    if not digest:
        path = by_others('model.npz', {
            name.strip('/'): array for name, array in weights(model).items()})
    expected = weights(model)
    with open(path, 'rb') as f:
        whole = f.read()
    bits = bits_of_the_list(path)[::EVERY if digest else 11]
    read = 0
    for bit in bits:
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        with open(path, 'wb') as f:
            f.write(broken)
        try:
            found = rnnlm.load(path).model
        except rnnlm.InputError:
            for read_it in (lambda: rnnlm.load_model(path, make(seed=4, tied=tied)),
                            lambda: convert.load(path), lambda: open_verified(path)):
                with pytest.raises(rnnlm.InputError):
                    read_it()
            continue
        read += 1  # for example, a date
        assert found.tied == tied
        assert_same(weights(found), expected)
    assert 0 < read < len(bits) / 2


def test_stock_chainer_reads_what_has_a_digest(tmp_path):
    for tied in False, True:
        model, other = make(tied), make(tied, seed=4)
        path = str(tmp_path / 'model.npz')
        rnnlm.save_npz(path, model)
        chainer.serializers.load_npz(path, other, strict=True)
        assert_same(weights(other), weights(model))
        with numpy.load(path) as npz:
            assert sorted(npz.files) == sorted(
                name.strip('/') for name in weights(model))
        with Npz(path) as npz:
            assert npz.facts == {'tied': tied}


def rewritten(path, comment=None, change=None, leave_out=()):
    """Returns a changed file with a valid member list and valid checksums."""
    with zipfile.ZipFile(path) as z:
        members = {name: z.read(name) for name in z.namelist()
                   if name not in leave_out}
        comment = z.comment if comment is None else comment
    if change:
        member = bytearray(members[change])
        member[-1] ^= 1
        members[change] = bytes(member)
    with zipfile.ZipFile(path, 'w') as z:
        for name, data in members.items():
            z.writestr(name, data)
        z.comment = comment


@pytest.mark.parametrize('change, match', [
    (dict(change='l1/lateral/W.npy'), 'according to their digest'),
    (dict(leave_out=['l2/W.npy']), 'according to their digest'),
    (dict(leave_out=['l1/upward/b.npy']), 'according to their digest'),
    (dict(comment=b'{"sha256": "0"}'), 'according to their digest'),
    (dict(comment=b'{"sha256": 0}'), 'the comment'),
    (dict(comment=b'{}'), 'sha256'), (dict(comment=b'hello'), 'expected an npz'),
    (dict(comment=b'[' * 3000), 'expected an npz')])
def test_the_digest_is_of_everything(tmp_path, change, match):
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, make())
    rewritten(path)
    rnnlm.load_model(path, make())  # repacked, it is the same
    rewritten(path, **change)
    for read in (rnnlm.load, convert.load, open_verified,
                 lambda path: rnnlm.load_model(path, make())):
        with pytest.raises(rnnlm.InputError, match=match):
            read(path)


def test_tied_is_not_only_guessed(tmp_path, by_others):
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, make())
    with zipfile.ZipFile(path) as z:
        facts = json.loads(z.comment)
    assert facts['tied'] is False
    with pytest.raises(rnnlm.InputError, match='found those of an untied'):
        rnnlm.load_model(path, make(tied=True))
    arrays = {name.strip('/'): array for name, array in weights(make()).items()}
    arrays['l2/V'] = arrays.pop('l2/W')
    path = by_others('old.npz', arrays)
    for read in rnnlm.load, convert.load:
        with pytest.raises(rnnlm.InputError, match="no others, found 'l2/V'"):
            read(path)
    del arrays['l2/V']
    assert rnnlm.load(by_others('old.npz', arrays)).model.tied


def test_members_that_are_no_arrays(tmp_path):
    path = str(tmp_path / 'model.npz')
    for name, data in ('notes', b'x'), ('x.npy', b'no array'), ('y.npy', b''):
        rnnlm.save_npz(path, make())
        rewritten(path, comment=b'')
        rnnlm.load(path)
        with zipfile.ZipFile(path, 'a') as z:
            z.writestr(name, data)
        with pytest.raises(rnnlm.InputError, match='cannot read'):
            rnnlm.load(path)
    with zipfile.ZipFile(path, 'w') as z, pytest.warns(UserWarning, match='Duplicate'):
        z.writestr('x.npy', b'')
        z.writestr('x.npy', b'')
    with pytest.raises(rnnlm.InputError, match='same name'):
        open_archive(path)


def test_the_best_model_of_a_run_has_a_digest(tmp_path):
    from rnnlm.training.best_model import BestModel

    class Observed:
        observation = {'validation/main/loss': 1.0}

    path = str(tmp_path / 'model.npz')
    model = chainer.links.Classifier(make(tied=True))
    BestModel(model, path)(Observed())
    with Npz(path) as npz:
        npz.verify()
        assert npz.facts == {'tied': True} and npz._sha256


@pytest.mark.parametrize('name', ['l1/upward/W', 'l2/b'])
def test_numbers_that_would_become_infinite_are_refused(tmp_path, name):
    """Values that are infinite in the file already are loaded."""
    for value, good in (1e39, False), (-1e300, False), (3e38, True), (numpy.inf, True):
        arrays = {key.lstrip('/'): array.astype('f8')
                  for key, array in weights(make()).items()}
        arrays[name].flat[-1] = value
        numpy.savez(tmp_path / 'model.npz', **arrays)
        model = make(seed=9)
        before = weights(model)
        if good:
            rnnlm.load_model(tmp_path / 'model.npz', model)
            assert weights(model)[f'/{name}'].flat[-1] == numpy.float32(value)
        else:
            with pytest.raises(rnnlm.InputError, match='float32 can hold'):
                rnnlm.load_model(tmp_path / 'model.npz', model)
            assert_same(weights(model), before)
