"""The Penn Treebank through Chainer's cache, its download, or neither."""
import os
import socket
import time

from helpers import refused
import pytest

from rnnlm.data import ptb as ptb_text
from rnnlm.data import sources
from rnnlm.data.corpus import encode_source, load
from rnnlm.data.vocabulary import Vocabulary

PTB_DIR = os.environ.get('RNNLM_PTB_DIR')
needs_ptb = pytest.mark.skipif(
    not PTB_DIR, reason='set RNNLM_PTB_DIR to a folder with ptb.train.txt, '
    'ptb.valid.txt and ptb.test.txt')

# The names under which Chainer keeps the three texts: MD5 of their addresses.
CACHED = {'train': '54a4921558c56e3d6f4a4d0b32b2c728',
          'valid': 'e058d9dd88b1578ff9cafeb03b711b71',
          'test': '73a79a5e1ef9cb62bc3930af372954c9'}


@pytest.fixture
def cache(tmp_path):
    """An empty Chainer cache: its path; nothing is looked for elsewhere."""
    pytest.importorskip('chainer')
    from chainer.dataset import download
    before = download.get_dataset_root()
    download.set_dataset_root(str(tmp_path / 'cache'))
    yield tmp_path / 'cache'
    download.set_dataset_root(before)


@pytest.fixture
def offline(cache, monkeypatch):
    """Each attempt to download raises what the list holds next."""
    errors = []

    def refuse(url, path):
        assert socket.getdefaulttimeout() == ptb_text.DOWNLOAD_TIMEOUT
        raise errors.pop(0)

    monkeypatch.setattr('six.moves.urllib.request.urlretrieve', refuse)
    return errors


def place(cache, write, texts):
    """Put texts where Chainer looks for the downloads."""
    for part, text in zip(('train', 'valid', 'test'), texts):
        write(f'cache/_dl_cache/{CACHED[part]}', text)


@pytest.fixture
def small(monkeypatch):
    """As if Penn Treebank were this small."""
    texts = [' a b c \n a <unk> \n', ' b c \n', ' c <unk> \n']
    monkeypatch.setattr(ptb_text, 'PTB_WORDS', (7, 3, 3))
    monkeypatch.setattr(ptb_text, 'PTB_VOCABULARY', 5)
    return texts


@pytest.mark.parametrize('error', [
    OSError('unreachable'), socket.timeout('timed out'), ValueError('odd'),
    EOFError(), PermissionError(13, 'Permission denied')])
def test_ptb_cannot_be_had(offline, cache, error):
    offline.append(error)
    with refused("corpus 'ptb'", 'cannot be downloaded', type(error).__name__,
                 "'demo'", 'in a folder and give that folder',
                 f'ptb.train.txt as .*{CACHED["train"]}'):
        load('ptb')
    assert socket.getdefaulttimeout() is None


def test_ptb_download_from_a_silent_server_ends(cache, monkeypatch):
    from chainer.datasets import ptb
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen(1)  # It accepts the connection and never answers.
        for part in 'train', 'valid', 'test':
            monkeypatch.setattr(ptb, f'_{part}_url',
                                'http://127.0.0.1:%d/%s' % (
                                    server.getsockname()[1], part))
        for name in 'http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY':
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(ptb_text, 'DOWNLOAD_TIMEOUT', .3)
        begin = time.perf_counter()
        with refused('cannot be downloaded'):
            load('ptb')
        assert time.perf_counter() - begin < 10


def test_ptb_from_cached_texts(offline, cache, write, small):
    place(cache, write, small)
    c = load('ptb')
    assert c.name == 'ptb' and c.vocabulary.words == ('a', 'b', 'c', '<eos>', '<unk>')
    assert c.train.tolist() == [0, 1, 2, 3, 0, 4, 3]
    from chainer.datasets import ptb
    for ours, theirs in zip((c.train, c.valid, c.test), ptb.get_ptb_words()):
        assert ours.dtype == theirs.dtype and (ours == theirs).all()
    assert c.vocabulary.words == tuple(ptb.get_ptb_words_vocabulary())
    by_char = load('ptb', 'char')
    assert ''.join(by_char.vocabulary.decode(by_char.train)) == small[0]


@pytest.mark.parametrize('tokens', ['word', 'char', 'byte'])
def test_ptb_by_a_vocabulary_of_any_kind(offline, cache, write, small, tokens):
    """The ids are those of the same texts in a folder."""
    small[2] = small[2].replace('c', 'ö')
    place(cache, write, small)
    for part, text in zip(('train', 'valid', 'test'), small):
        folder = os.path.dirname(write(f'folder/ptb.{part}.txt', text))
    words = ['a', 'b', 'ö'] if tokens == 'word' else ' abc\n\xc3\xb6'
    vocabulary = Vocabulary(words, tokens)
    for one, other in zip(*(
            encode_source(sources.find(spec, tokens), vocabulary)
            for spec in ('ptb', folder))):
        assert one.ids.tolist() == other.ids.tolist() and len(one.ids)
        assert (one.n_tokens, one.n_unknown) == (other.n_tokens, other.n_unknown)


def test_ptb_from_the_ids_that_chainer_made(offline, cache, write, small):
    place(cache, write, small)
    from chainer.datasets import ptb
    ptb.get_ptb_words()
    expected = load('ptb')
    (cache / '_dl_cache' / CACHED['test']).unlink()
    c = load('ptb')
    assert c.vocabulary == expected.vocabulary
    assert (c.train == expected.train).all() and (c.test == expected.test).all()
    # By character the text itself is needed.
    offline.append(OSError('unreachable'))
    with refused('cannot be downloaded'):
        load('ptb', 'char')
    made = cache / 'pfnet' / 'chainer' / 'ptb'
    for name, data in [('valid.npz', b'PK\x03\x04 half'), ('valid.npz', b''),
                       ('vocab.txt', b'a\n')]:
        good = (made / name).read_bytes()
        (made / name).write_bytes(data)
        with refused("corpus 'ptb'", 'chainer.ptb is not usable', "'demo'"):
            load('ptb')
        (made / name).write_bytes(good)


@pytest.mark.parametrize('data, parts', [
    (b'', ['is empty']),
    (b'<html>Please log in</html>', ['expected 3 words, found 4']),
    (b' b\n', ['expected 3 words, found 2']),
    (b'\x1f\x8b\x08\x00', ['UTF-8']),
])
def test_ptb_with_a_damaged_cache(offline, cache, write, small, data, parts):
    place(cache, write, [small[0], data, small[2]])
    with refused("corpus 'ptb'", 'not usable', CACHED['valid'], *parts, 'delete'):
        load('ptb')


def test_ptb_with_another_vocabulary(offline, cache, write, small):
    place(cache, write, [' a b c \n a d \n', small[1], small[2]])
    assert len(load('ptb').vocabulary) == 6
    place(cache, write, [' a b c \n a a \n', small[1], small[2]])
    with refused(CACHED['train'], 'expected 5 different words, found 4'):
        load('ptb')


@needs_ptb
def test_real_ptb_equals_chainers_loader(offline, cache, write):
    texts = []
    for part in 'train', 'valid', 'test':
        with open(os.path.join(PTB_DIR, f'ptb.{part}.txt'), 'rb') as f:
            texts.append(f.read())
    place(cache, write, texts)
    from chainer.datasets import ptb
    theirs = ptb.get_ptb_words()
    vocabulary = ptb.get_ptb_words_vocabulary()
    for spec in PTB_DIR, 'ptb':
        begin = time.perf_counter()
        c = load(spec)
        assert time.perf_counter() - begin < 1.5
        for ours, expected in zip((c.train, c.valid, c.test), theirs):
            assert ours.dtype == expected.dtype and (ours == expected).all()
        assert {word: i for i, word in enumerate(c.vocabulary.words)} == vocabulary
        assert c.summary().endswith(
            ': 929,589 / 73,760 / 82,430 words, vocabulary 10,000')
