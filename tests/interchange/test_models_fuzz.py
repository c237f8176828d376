"""Broken files of whole models: each is refused or loaded, quickly."""
import os

from layouts import draw, model_shapes
import pytest

from rnnlm.interchange import convert
from test_interchange_fuzz import broken, fuzz, members_of, zipped
from recorded import members
from test_torch7_models import Writer, char_rnn, linears_of, torch_rnn, torch_rnn_arrays

N_FILES = int(os.environ.get('RNNLM_FUZZ_FILES', 10000)) // 10


@pytest.mark.parametrize('archive, name', [
    ('pytorch-1.4.0.tar.xz', 'whole.pt'), ('pytorch-2.13.0.tar.xz', 'whole_old_p4.pt'),
    ('pytorch-2.13.0.tar.xz', 'checkpoint_old.pth')])
def test_old_files_of_pytorch(write, archive, name):
    data = members(archive)[name]
    counts = fuzz(lambda _, content: write('broken.pt', content), convert.load,
                  lambda random: broken(data, random), N_FILES)
    assert counts['read'] >= N_FILES // 100


@pytest.mark.parametrize('name', [
    'whole.pt', 'whole_p5.pt', 'awd.pt', 'checkpoint.pth'])
def test_pickled_modules(write, name):
    inside = members_of(members('pytorch-2.13.0.tar.xz')[name])
    pickle, = (key for key in inside if key.endswith('/data.pkl'))
    counts = fuzz(
        lambda _, content: write('broken.pt', content), convert.load,
        lambda random: zipped({**inside, pickle: broken(inside[pickle], random)}),
        N_FILES)
    assert counts['read'] >= N_FILES // 100


@pytest.mark.parametrize('make', [
    lambda: char_rnn(linears_of(2), 'abc \n'),
    lambda: torch_rnn(*torch_rnn_arrays(), 'abc \n')], ids=['char-rnn', 'torch-rnn'])
def test_torch7(write, make):
    data = Writer().of(make())
    counts = fuzz(lambda _, content: write('broken.t7', content), convert.load,
                  lambda random: broken(data, random), N_FILES)
    assert counts['read'] >= N_FILES // 100


def test_models_with_tokens(write, tmp_path):
    import rnnlm
    path = str(tmp_path / 'm.safetensors')
    convert.save(path, draw(model_shapes(4, 2, 2, 1), 'f4'), rnnlm.Vocabulary('abcd'))
    with open(path, 'rb') as f:
        data = f.read()
    fuzz(lambda _, content: write('broken.safetensors', content), convert.load,
         lambda random: broken(data, random), N_FILES)
