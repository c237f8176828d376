"""Texts in flat memory have the ids that plain lists of tokens give."""
import contextlib
import gzip
import os
import tempfile
from unittest import mock

from helpers import refused
from hypothesis import example, given, settings, strategies as st
import numpy as np
import pytest

import token_lists
from rnnlm.data import cache, files, flat, short_words, sources
from rnnlm.data import tokens as tokens_module
from rnnlm.data.corpus import encode_source, load
from rnnlm.data.short_words import ShortWords
from rnnlm.data.text import split_text
from rnnlm.data.tokens import WordIds, tokens_of, words_of
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError

# What words, lines and characters are made of: all that is a blank for Python, what is
# none though it looks like one, characters of 1 to 4 bytes, and tokens with a meaning.
BLANKS = [chr(k) for k in range(0x110000) if chr(k).isspace()]
PIECES = [*BLANKS, ' ', ' ', '\n', '\n', '\n\n', '\r', '\r\n', 'a', 'a', 'b', 'bc', 'é',
          '語', '😀', '\0', '\ufeff', '\u200b', '<eos>', '<unk>', '<', 'unk>', '\u180e']

texts = st.lists(st.sampled_from(PIECES), max_size=60).map(''.join)
long_texts = st.lists(st.sampled_from(PIECES), min_size=30, max_size=90).map(''.join)


def in_blocks(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in zip(places, places[1:])]


def tokens_in_blocks(blocks, tokens, blank_lines, several=False):
    found = []
    for some in tokens_of([('text', blocks)], tokens, blank_lines, several):
        found += words_of(some) if tokens == 'word' else some
    return found


def expected_tokens(data, tokens, blank_lines):
    text = data.decode()
    return list(split_text(text.removeprefix('\ufeff'), tokens, blank_lines))


@settings(max_examples=200, deadline=None)
@given(texts, st.lists(st.integers(0, 200), max_size=8), st.booleans(),
       st.sampled_from(['word', 'char']))
@example('\ufeff\ufeff a', [1, 4], False, 'word')
@example('a\r\n\r\nb', [2, 3], False, 'word')
def test_blocks_that_are_cut_anywhere(text, cuts, blank_lines, tokens):
    data = text.encode()
    bare = text.removeprefix('\ufeff')
    blocks = in_blocks(data, cuts)
    if not bare or bare.isspace():
        with refused('is empty' if not bare else 'whitespace only'):
            tokens_in_blocks(blocks, tokens, blank_lines)
        return
    assert tokens_in_blocks(blocks, tokens, blank_lines) == expected_tokens(
        data, tokens, blank_lines)


@pytest.mark.parametrize('blank_lines', [True, False])
@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_every_boundary(tokens, blank_lines):
    """Two blocks, and blocks of few bytes: words, line ends and characters are cut."""
    text = '\ufeff a語 \r\n\r\n \x85\u2028 😀é\r \r\nb<eos>\n\n\x1c \nlongestword\r'
    data = text.encode()
    expected = expected_tokens(data, tokens, blank_lines)
    for k in range(len(data) + 1):
        assert tokens_in_blocks([data[:k], data[k:]], tokens, blank_lines) == expected
    for size in range(1, 9):
        blocks = [data[k:k + size] for k in range(0, len(data), size)]
        assert tokens_in_blocks(blocks, tokens, blank_lines) == expected


def test_what_is_no_text_is_named_at_its_place():
    for good in b'', 'é語'.encode():
        for bad in b'\xff', b'\xe8\xaa', b'a\xf0\x9f\x98 ', b'\xed\xa0\x80':
            data = good + bad
            with pytest.raises(UnicodeDecodeError) as found:
                data.decode()
            expected = f'0x{data[found.value.start]:02x} at offset {found.value.start} '
            for k in range(len(data) + 1):
                with refused(expected, found.value.reason):
                    tokens_in_blocks([data[:k], data[k:]], 'word', True)


def same(found, expected):
    vocabulary, parts, _ = expected
    assert found.vocabulary == vocabulary and found.vocabulary.words == vocabulary.words
    assert found.vocabulary.tokens == vocabulary.tokens
    for name, ids in zip(('train', 'valid', 'test'), parts):
        np.testing.assert_array_equal(getattr(found, name), ids)
        assert getattr(found, name).dtype == np.int32
        unknown = np.mean(ids == vocabulary.unknown) if vocabulary.unknown else (
            np.mean(ids == 0) if vocabulary.unknown == 0 else 0)
        assert found.unknown_rate(name) == unknown
    assert found.digest() == flat.digest_of(parts)


@contextlib.contextmanager
def small_blocks(folder, size, n_ids):
    """Few bytes and ids at once, and a cache that keeps every text."""
    with mock.patch.object(files, 'BLOCK', size), \
            mock.patch.object(flat, 'BLOCK', n_ids), \
            mock.patch.object(cache, 'LEAST', 0), \
            mock.patch.dict(os.environ, XDG_CACHE_HOME=os.path.join(folder, 'cache')):
        yield


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whole_corpora(data):
    """In memory, made on the disk, and found there again."""
    draw = data.draw
    tokens = draw(st.sampled_from(['word', 'char']))
    options = {}
    kind = draw(st.integers(0, 3))
    if kind == 1:
        options['vocab_limit'] = draw(st.integers(2, 12))
    if kind in (1, 2):
        options['min_count'] = draw(st.sampled_from([None, 1, 2, 3]))
    if kind == 3:
        words = draw(st.lists(st.sampled_from(
            ['a', 'b', '<unk>', '<eos>', '\n', 'é', ' ', 'x'] if tokens == 'char' else
            ['a', 'b', 'bc', '<unk>', '<eos>', 'é', 'x']), min_size=1, unique=True))
        options['vocabulary'] = Vocabulary(words, tokens)
    form = draw(st.sampled_from(
        ['file', 'gz', 'files', 'documents', 'parts', 'ptb', 'wiki']))
    with tempfile.TemporaryDirectory() as folder:
        spec = write(folder, form, draw)
        with small_blocks(folder, draw(st.integers(1, 50)), draw(st.integers(1, 40))):
            try:
                expected = token_lists.load(spec, tokens, **options)
            except InputError:
                for use_cache in True, False:
                    with pytest.raises(InputError):
                        load(spec, tokens, **options, cache=use_cache)
                assert os.listdir(os.path.join(folder, 'cache', 'rnnlm')) == []
                return
            in_memory = load(spec, tokens, **options, cache=False)
            made = load(spec, tokens, **options)
            with mock.patch.object(flat, 'build', side_effect=AssertionError):
                again = load(spec, tokens, **options)
            for found in in_memory, made, again:
                same(found, expected)
            assert isinstance(again.train, np.memmap)
            if 'vocabulary' not in options:
                assert {one.source['min_count'] for one in (
                    in_memory, made, again)} == {expected[2]}
            assert len(os.listdir(os.path.join(folder, 'cache', 'rnnlm'))) == 1


def write(folder, form, draw):
    """Texts in a folder, by hypothesis; what `load_corpus` is given for them."""
    names = {'file': ['text'], 'gz': ['text.gz'], 'files': ['1', '2.gz', '3'],
             'documents': ['d/b.txt', 'd/a.txt.gz'],
             'parts': ['d/train.txt', 'd/val.txt.gz', 'd/test.txt'],
             'ptb': [f'd/ptb.{part}.txt' for part in ('train', 'valid', 'test')],
             'wiki': [f'd/wiki.{part}.tokens' for part in ('train', 'valid', 'test')]
             }[form]
    os.mkdir(os.path.join(folder, 'd'))
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        text = draw(long_texts).encode()
        with open(path, 'wb') as f:
            f.write(gzip.compress(text) if path.endswith('.gz') else text)
    return os.path.join(folder, 'd') if 'd/' in names[0] else (
        paths if form == 'files' else paths[0])


@settings(max_examples=100, deadline=None)
@given(long_texts, st.sampled_from(['word', 'char']), st.booleans(), st.booleans(),
       st.integers(1, 30))
def test_by_another_vocabulary(text, tokens, unknown, end, n_ids):
    """What it lacks is <unk>, or is left out."""
    bare = text.removeprefix('\ufeff')
    words = ['a', 'b', 'é', *['<unk>'] * unknown]
    words += [('<eos>' if tokens == 'word' else '\n')] * end
    vocabulary = Vocabulary(words, tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'text')
        with open(path, 'wb') as f:
            f.write(text.encode())
        with small_blocks(folder, 7, n_ids):
            if bare.isspace():
                return
            all_tokens = token_lists.tokenise([path], tokens, False)
            ids = token_lists.ids_of(all_tokens, vocabulary)
            n_unknown = (int((ids == vocabulary.unknown).sum()) if unknown
                         else len(all_tokens) - len(ids))
            for use_cache in False, True, True:
                found, = encode_source(
                    sources.find_unsplit(path), vocabulary, use_cache)
                np.testing.assert_array_equal(found.ids, ids)
                assert (found.n_tokens, found.n_unknown) == (len(all_tokens), n_unknown)


def test_bytes_are_those_of_utf8(write):
    vocabulary = Vocabulary([chr(k) for k in range(256)], 'byte')
    found, = encode_source(sources.find_unsplit(write('t', 'é語\r\n😀')), vocabulary)
    assert bytes(found.ids.tolist()) == 'é語\n😀'.encode()


ASCII = [chr(k) for k in range(1, 128) if chr(k).isspace()] + [
    'a', 'b', 'ab', 'aaaaaaaa', 'aaaaaaaaa', '<eos>', '<unk>', '\n', ' ', '0', '~']


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*ASCII, 'é', '\0']), max_size=30).map(
    lambda parts: ''.join(parts) + '\n'), max_size=6),
    st.sampled_from([None, ['b', '<unk>'], ['<eos>', 'ab', 'aaaaaaaaa']]))
def test_numbers_of_words(pieces, known):
    """Short and long ones, in ASCII or not, have the numbers of one dictionary."""
    numbers = {} if known is None else {word: k for k, word in enumerate(known)}
    found = WordIds(known)
    for piece in pieces:
        expected = [numbers.setdefault(word, len(numbers)) if known is None else
                    numbers.get(word, len(known)) for word in words_of(piece)]
        assert found.encode(piece).tolist() == expected
    assert found.names == list(numbers)


def test_very_many_short_words():
    """The table grows, and most of its places are taken."""
    random = np.random.RandomState(0)
    found, numbers = WordIds(), {}
    for _ in range(20):
        words = [f'{k:x}' for k in random.randint(0, 2 ** 28, 20000)] + ['x'] * 5
        expected = [numbers.setdefault(word, len(numbers)) for word in words]
        assert found.encode(' '.join(words)).tolist() == expected
        again = random.choice(list(numbers), 1000).tolist()
        assert found.encode(' '.join(again)).tolist() == [
            numbers[word] for word in again]


def colliding_words(n):
    """Words of 8 bytes that a table of any size puts into one slot."""
    inverse = pow(int(short_words._MULTIPLIER), -1, 2 ** 64)
    keys = np.arange(n, dtype='u8') * np.uint64(inverse)  # their products are small
    letters = keys.view('u1').reshape(-1, 8)
    good = ((letters < 128) & (letters > 0) & ~short_words._BLANK[letters]).all(axis=1)
    return [row.tobytes().decode() for row in letters[good]]


def test_words_made_to_collide(monkeypatch):
    """They have their numbers, after a bounded number of looks."""
    words = colliding_words(2 ** 21)
    assert len(words) > 2000
    looks = []
    after = ShortWords._next
    monkeypatch.setattr(
        ShortWords, '_next', lambda *args: looks.append(1) or after(*args))
    numbers = {word: k for k, word in enumerate(words)}
    random = np.random.RandomState(0)
    for known in None, words:
        found = WordIds(known)
        for some in words, words[::-1], random.choice(words, 9000).tolist():
            looks.clear()
            assert found.encode(' '.join(some)).tolist() == [
                numbers[word] for word in some]
            assert len(looks) <= 2 * short_words.MOST_LOOKS
        assert len(found._short._keys) <= 8 * len(words) + 2 ** 16


def test_a_word_longer_than_a_block(write):
    word = 'x' * (3 * files.BLOCK) + 'é'
    found = load(write('text', f'{word} b\n' * 10))
    assert found.vocabulary.words == (word, 'b', '<eos>')


def test_a_word_that_is_too_long(write, monkeypatch):
    monkeypatch.setattr(tokens_module, 'LONGEST_WORD', 10 ** 5)
    with refused('text', 'words of at most 100,000 characters'):
        load(write('text', 'a b ' * 20 + 'x' * (2 * 10 ** 5)))


def test_arrays_in_memory_may_be_changed(write):
    found = load(write('text', 'a b\n' * 20))
    found.train[0] = 1
    assert found.train[0] == 1 and found.digest() != load(
        write('text', 'a b\n' * 20)).digest()
