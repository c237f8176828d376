"""What every reader refuses, and how it says so: kinds of file, and escapes."""
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zipfile

import chainer
from helpers import ROOT, refused
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app.run_folder import RunDescription, hash_of_vocabulary
from rnnlm.data import files
from rnnlm.errors import printable
from rnnlm.interchange import convert, keras, pytorch, safetensors, torch7
from rnnlm.serializers import reading
from rnnlm.serializers.archive import open_archive, open_verified

EVIL = '\x1b[2J\x07\x9b31m\r\n\u202egnp\u2066\u200f\x7f\ud800'

READERS = {
    'archive': open_archive, 'verified': open_verified, 'load': rnnlm.load,
    'load_model': lambda path: rnnlm.load_model(path, rnnlm.RNNForLM(3, 2, 1)),
    'convert': convert.load, 'safetensors': safetensors.read, 'pytorch': pytorch.read,
    'torch7': torch7.read, 'keras': keras.read, 'vocabulary': rnnlm.Vocabulary.load,
    'text': rnnlm.load_corpus}


def is_harmless(text):
    """Whether a terminal shows it all and obeys none of it."""
    return all(c in '\n\t' or c.isprintable() for c in text)


@pytest.fixture(params=['pipe', 'folder', 'socket', 'device', 'link to a device'])
def no_file(request, tmp_path):
    path = str(tmp_path / 'it')
    if request.param == 'device':
        if not os.path.exists('/dev/zero'):
            pytest.skip('no /dev/zero')
        return '/dev/zero'
    if request.param == 'folder':
        os.mkdir(path)
    elif not hasattr(os, 'mkfifo'):
        pytest.skip('of POSIX')
    elif request.param == 'pipe':
        os.mkfifo(path)
    elif request.param == 'socket':
        socket.socket(socket.AF_UNIX).bind(path)
    else:
        os.symlink('/dev/zero', path)
    return path


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_only_files_are_read(reader, no_file):
    with pytest.raises(rnnlm.InputError, match=os.path.basename(no_file)):
        READERS[reader](no_file)


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_run_json_that_is_no_file(no_file, tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    os.symlink(no_file, folder / 'run.json')
    with refused('run.json', 'expected the description of a run'):
        RunDescription.load(str(folder))


def test_a_pipe_of_the_shell_is_text():
    if not os.path.isdir('/dev/fd'):
        pytest.skip('no /dev/fd')
    read, write = os.pipe()
    writer = threading.Thread(target=lambda: (
        os.write(write, b'a b c d\n' * 8), os.close(write)))
    writer.start()
    try:
        assert len(rnnlm.load_corpus(f'/dev/fd/{read}').train) > 20
        with refused('found a pipe'):
            rnnlm.Vocabulary.load(f'/dev/fd/{read}')
    finally:
        writer.join()
        os.close(read)


def test_a_stream_has_an_end(monkeypatch):
    if not os.path.isdir('/dev/fd'):
        pytest.skip('no /dev/fd')
    monkeypatch.setattr(files, 'MOST_STREAMED', 10)
    read, write = os.pipe()
    os.write(write, b'x' * 1000)
    os.close(write)
    with refused('at most 10 bytes', 'write the text to a file'):
        rnnlm.load_corpus(f'/dev/fd/{read}')
    os.close(read)
    with open('/dev/zero') as f, refused('found a device'):
        rnnlm.load_corpus(f'/dev/fd/{f.fileno()}')


@pytest.mark.parametrize('reader', sorted(READERS))
def test_a_file_larger_than_memory_is_named(reader, tmp_path):
    """As a sparse one."""
    if sys.platform != 'linux':
        pytest.skip('what is free is known on Linux')
    path = str(tmp_path / 'huge')
    with open(path, 'wb') as f:
        f.truncate(2 ** 42)
    with pytest.raises(rnnlm.InputError, match='huge'):
        READERS[reader](path)


def test_memory_is_asked_for_before(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, 'free_memory', lambda: 1e8)
    path = str(tmp_path / 'text.npz')
    with open(path, 'wb') as f:
        f.truncate(2 * 10 ** 8)
    with refused('text.npz', 'fits into memory', '200,000,000 bytes', '100,000,000'):
        rnnlm.load_corpus(path, cache=False)
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('a.npy', bytes(11 * 10 ** 7))
    with refused('text.npz', '110,000,000 bytes'):
        open_archive(path)
    assert reading.free_memory() == 1e8


# --- what is printed ---

@pytest.mark.parametrize('text, expected', [
    ('\x1b[2J', '\\u001b[2J'), ('a\nb', 'a\\nb'), ('\u202e', '\\u202e'),
    ('\ud800', '\\ud800'), ('\U000e0041', '\\udb40\\udc41'), ('é語 😀\xa0', 'é語 😀\xa0'),
    ('می\u200cخواهم', 'می\u200cخواهم'), ('\x7f\x9b', '\\u007f\\u009b')])
def test_printable(text, expected):
    assert printable(text) == expected
    assert printable(printable(text)) == expected
    assert json.loads('"' + printable(json.dumps(text, ensure_ascii=False)[1:-1])
                      + '"') == text
    assert str(rnnlm.InputError(text, 'x')) == f'x: {expected}'
    assert rnnlm.InputError(text).problem == expected


def test_long_texts_are_shortened():
    assert printable('a' * 100, 10) == 'aaaaaaa...'
    assert len(str(rnnlm.InputError('a' * 10 ** 6))) < 5000


def arrays(prefix=''):
    return {prefix + name.strip('/'): param.array
            for name, param in rnnlm.RNNForLM(3, 2, 1).namedparams()}


def npz_file(path):
    with zipfile.ZipFile(path, 'w') as z:
        evil = {**arrays(EVIL[:-1] + '/'), EVIL[:-1]: numpy.ones(2)}
        for name, array in evil.items():
            member = io.BytesIO()
            numpy.save(member, array)
            z.writestr(zipfile.ZipInfo(name + '.npy'), member.getvalue())


def safetensors_file(path):
    text = json.dumps({EVIL: {'dtype': EVIL, 'shape': [], 'data_offsets': [0, 0]}})
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text.encode())


def safetensors_names(path):
    safetensors.write(path, {EVIL: numpy.ones(2, 'f')})


def pickle_file(path):
    name = EVIL[:5].encode()
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('a/data.pkl', b'\x80\x02c' + name + b'\n' + name + b'\n)R.')


def pickle_names(path):
    name = EVIL.encode('utf-8', 'surrogatepass')
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('a/data.pkl', b'\x80\x02}X' + struct.pack('<I', len(name)) + name
                   + b'Ns.')


def torch7_file(path):
    torch7.write(path, {EVIL.replace('\ud800', ''): numpy.ones(3, 'f')})


def torch7_class(path):
    with open(path, 'wb') as f:
        f.write(b'4\n1\n3\nV 1\n22\ntorch.\x1b[2JFloatTensor\n1\n')


def keras_file(path):
    h5py = pytest.importorskip('h5py')
    name = EVIL.replace('\ud800', '')
    with h5py.File(path, 'w') as f:
        f.attrs['keras_version'] = '2.4' + name
        f.attrs['layer_names'] = [name.encode()]
        f[f'{name}/{name}'] = numpy.ones(2, 'f')


def keras_config(path):
    keras_file(path)
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'a') as f:
        f.attrs['model_config'] = json.dumps({'class_name': 'LSTM', 'config': {
            'name': EVIL, 'activation': EVIL}})


FILES = {'a.npz': npz_file, 'a.safetensors': safetensors_file,
         'b.safetensors': safetensors_names, 'a.pt': pickle_file, 'b.pt': pickle_names,
         'a.t7': torch7_file, 'b.t7': torch7_class, 'a.h5': keras_file,
         'b.h5': keras_config}


@pytest.mark.parametrize('name', FILES)
def test_every_reader_escapes(name, tmp_path, capsys):
    path = str(tmp_path / name)
    FILES[name](path)
    for reader, read in READERS.items():
        try:
            found = read(path)
        except rnnlm.InputError as e:
            assert is_harmless(str(e)), (reader, e)
        else:
            getattr(found, 'close', list)()
    for command in (['inspect', path], ['inspect', path, '--json'],
                    ['convert', path, str(tmp_path / 'out.npz')], ['evaluate', path],
                    ['generate', path], ['score', path, path]):
        cli.main(command)
        found = capsys.readouterr()
        assert is_harmless(found.out) and is_harmless(found.err), (command, found)


def run_with(folder, words, corpus):
    """A run whose vocabulary and description come from a stranger."""
    folder.mkdir()
    model = rnnlm.RNNForLM(len(words), 4, 1)
    rnnlm.save_npz(str(folder / 'model.npz'), chainer.links.Classifier(model))
    vocabulary = rnnlm.Vocabulary(words)
    vocabulary.save(str(folder / 'vocabulary.json'))
    (folder / 'run.json').write_text(json.dumps({
        'corpus': corpus, 'tokens': 'word', 'training words': 90,
        'vocabulary': hash_of_vocabulary(vocabulary),
        'source': {'corpus': corpus, 'tokens': 'word', 'vocab_limit': None},
        'recipe': {}}))
    return str(folder)


def test_every_command_escapes(tmp_path, capsys, monkeypatch):
    evil = EVIL.replace('\ud800', '').replace('\r\n', '')
    words = ['<eos>', '<unk>', evil + 'a', evil + 'b', 'c']
    folder = run_with(tmp_path / 'run', words, f'/no/such{evil}')
    text = tmp_path / 'text.txt'
    text.write_text(f'{evil}a {evil}b c\n' * 30, encoding='utf-8')
    for command in (
            ['generate', folder, '--seed', '1', '--length', '30'],
            ['generate', folder, '--beam', '2', '--length', '3', '-p', evil + 'a'],
            ['generate', folder, '-p', evil], ['evaluate', folder],
            ['interpolate', folder, folder], ['score', folder, str(text)],
            ['score', '--json', folder, str(text)],
            ['score', '--srilm', folder, str(text)],
            ['evaluate', folder, '--corpus', str(text)],
            ['score', '--nbest', folder, str(text)], ['inspect', folder + evil],
            ['train', '--out', folder, '--resume'], ['train', '--out', folder],
            ['train', '--corpus', str(text), '--out', str(tmp_path / 'x'), '-e', '1',
             '--preset', 'demo', '--unit', '4']):
        cli.main(command)
        found = capsys.readouterr()
        assert is_harmless(found.out.replace('\r', '')), (command, found.out)
        assert is_harmless(found.err), (command, found.err)
        assert found.out or found.err
        if command[:2] == ['score', '--json']:
            for line in found.out.splitlines():
                assert evil in json.loads(line)['sentence']


def test_corpus_of_run_json_is_a_file(tmp_path, capsys):
    if not hasattr(os, 'mkfifo'):
        pytest.skip('of POSIX')
    pipe = str(tmp_path / 'pipe')
    os.mkfifo(pipe)
    for corpus in pipe, '/dev/fd/0', '/dev/zero', '/no/such':
        folder = run_with(tmp_path / f'run{len(os.listdir(tmp_path))}', 'abc', corpus)
        assert cli.main(['evaluate', folder]) == 2
        error = capsys.readouterr().err
        assert 'run.json names' in error and corpus in error


def test_standard_input_that_is_not_text(tmp_path):
    folder = run_with(tmp_path / 'run', ['<eos>', '<unk>', 'a'], 'demo')
    done = subprocess.run(
        [sys.executable, '-m', 'rnnlm', 'score', folder], input=b'a\nb\xff\x1b c\n',
        capture_output=True, env=dict(
            os.environ, PYTHONPATH=ROOT, PYTHONIOENCODING='utf-8:strict'))
    assert done.returncode == 2 and b'Traceback' not in done.stderr
    assert b'UTF-8, found byte 0xff' in done.stderr


# --- models that generate nothing ---

@pytest.mark.parametrize('value', [numpy.nan, numpy.inf, -numpy.inf, 1e38])
def test_weights_that_are_no_numbers(tmp_path, capsys, value):
    folder = run_with(tmp_path / 'run', ['<eos>', '<unk>', 'a'], 'demo')
    model = rnnlm.RNNForLM(3, 4, 1)
    model.l2.W.array[...] = value
    model.embed.W.array[...] = 1
    rnnlm.save_npz(os.path.join(folder, 'model.npz'), model)
    for options in [], ['--beam', '2'], ['--greedy'], ['--temperature', '1e-310']:
        status = cli.main(['generate', folder, '--length', '5', *options])
        error = capsys.readouterr().err
        assert status == 0 or status == 2 and 'finite weights' in error
        assert status == 2 or numpy.isfinite(value)
    if not numpy.isfinite(value):
        for command in ['score', folder, __file__], ['evaluate', folder]:
            assert cli.main(command) == 2
            assert 'model.npz: expected finite weights' in capsys.readouterr().err


@pytest.mark.parametrize('temperature', [1e-310, 5e-324, 1e-5, 1e300])
@pytest.mark.parametrize('bias', [-9, 0, 9])
def test_any_temperature(temperature, bias):
    model = rnnlm.RNNForLM(5, 4, 1)
    model.l2.b.array[...] = bias  # all logits are of one sign
    greedy = list(rnnlm.generate(model, [1], 8, sample=False))
    found = list(rnnlm.generate(model, [1], 8, temperature=temperature))
    assert temperature > 1 or found == greedy


def test_a_run_of_very_many_layers_is_not_built(tmp_path, monkeypatch):
    """The sizes that run.json names are compared with the snapshot's before."""
    from helpers import TINY, tiny_corpus
    from rnnlm.app import experiment

    out = tmp_path / 'run'
    experiment.train(tiny_corpus(), TINY, out=str(out), save_every=0)
    described = json.loads((out / 'run.json').read_text())
    described['recipe']['n_layers'] = 1000
    (out / 'run.json').write_text(json.dumps(described))
    recipe = RunDescription.load(str(out)).recipe
    monkeypatch.setattr(experiment, 'make_training_run', None)
    with refused('snapshot_iter_45', 'n_layers=1000', 'found one with 2'):
        experiment.train(tiny_corpus(), recipe, out=str(out), resume=str(out))
