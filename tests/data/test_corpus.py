import dataclasses
import hashlib
import json
import os

from helpers import refused
import numpy as np
import pytest

from rnnlm.data import demo
from rnnlm.data.corpus import Corpus, Vocabulary, load

WORDS = 'a rose is a rose\n' * 20


def folder(write, train, valid, test, prefix='ptb.'):
    for part, text in zip(('train', 'valid', 'test'), (train, valid, test)):
        path = write(f'folder/{prefix}{part}.txt', text)
    return os.path.dirname(path)


# --- Vocabulary ---

def test_vocabulary_round_trip():
    v = Vocabulary(['b', 'a', '\n', 'ü', '<unk>'])
    assert len(v) == 5 and 'ü' in v and 'c' not in v
    ids = v.encode(['a', 'ü', 'b', '\n'])
    assert ids.dtype == np.int32 and ids.tolist() == [1, 3, 0, 2]
    assert v.decode(ids) == ['a', 'ü', 'b', '\n']
    assert v.encode('abx').tolist() == [1, 0, 4]
    assert v.encode(iter('ab')).tolist() == [1, 0]
    assert v.encode([]).shape == (0,) and v.encode([]).dtype == np.int32
    assert v.decode([]) == []
    assert v.decode(np.array([4], np.uint8)) == ['<unk>']
    assert v == Vocabulary(v.words) and v != Vocabulary('ab') and v != 'ab'
    assert hash(v) == hash(Vocabulary(v.words))
    assert repr(v) == "<Vocabulary of 5: 'b', 'a', '\\n', 'ü', ...>"


def test_from_tokens_keeps_the_order_of_first_appearance():
    text = 'c a b a c d e e e'.split()
    assert Vocabulary.from_tokens(text).words == tuple('cabde')
    assert Vocabulary.from_tokens(text, limit=5).words == tuple('cabde')
    # e 3, then c and a with 2; b and d go, <unk> stands where b stood.
    assert Vocabulary.from_tokens(text, limit=4).words == ('c', 'a', '<unk>', 'e')
    # Of c and a the earlier stays.
    assert Vocabulary.from_tokens(text, limit=3).words == ('c', '<unk>', 'e')
    assert Vocabulary.from_tokens(text, limit=2).words == ('<unk>', 'e')
    assert Vocabulary.from_tokens(iter(text), limit=np.int64(2)).words[1] == 'e'


@pytest.mark.parametrize('limit', range(2, 12))
def test_limit_is_the_vocabulary_of_the_replaced_text(limit):
    text = demo.corpus()[1][:120]
    v = Vocabulary.from_tokens(text, limit)
    assert len(v) == limit
    replaced = [word if word in v else '<unk>' for word in text]
    assert v == Vocabulary.from_tokens(replaced)
    assert v.decode(v.encode(text)) == replaced


def test_from_tokens_with_unk_in_the_text():
    text = 'a <unk> b a c c c'.split()
    assert Vocabulary.from_tokens(text, limit=3).words == ('a', '<unk>', 'c')
    assert Vocabulary.from_tokens(text, unknown=True).words == ('a', '<unk>', 'b', 'c')
    assert Vocabulary.from_tokens('ab', unknown=True).words == ('a', 'b', '<unk>')
    assert Vocabulary.from_tokens('ab', 3, unknown=True).words == ('a', 'b', '<unk>')
    assert Vocabulary.from_tokens('ab', 2, unknown=True).words == ('a', '<unk>')


@pytest.mark.parametrize('words, parts', [
    ([], ['at least one token']),
    (['a', ''], ["''", 'token 1']),
    (['a', 3], ['non-empty strings', '3', 'token 1']),
    (['a', 'b', 'a'], ["'a' 2 times"]),
    (['\ud800'], ['surrogate']),
])
def test_bad_vocabulary(words, parts):
    with refused(*parts):
        Vocabulary(words)


@pytest.mark.parametrize('limit', [1, 0, -3, 2.5, True, '10'])
def test_bad_limit(limit):
    with refused('vocab_limit', 'at least 2', f'{limit!r}'):
        Vocabulary.from_tokens('abc', limit)
    with refused('vocab_limit', 'at least 2', f'{limit!r}'):
        load('demo', vocab_limit=limit)


def test_unknown_token_is_named():
    v = Vocabulary(['queen', 'queens', 'king'])
    with refused("token 1: 'quen' is not among the 3", "'queen', 'queens'"):
        v.encode(['king', 'quen'])
    with refused("'xyz'", "which has no '<unk>'$"):
        v.encode(['xyz'])
    for vocabulary in v, Vocabulary(['a', '<unk>']):
        for wrong in 5, None, ['a'], b'king':
            with refused('token 0: expected a str'):
                vocabulary.encode([wrong])


@pytest.mark.parametrize('ids, parts', [
    ([0, 3], ['id 3 at position 1', '0 to 2']),
    ([-1], ['id -1']),
    ([.5], ['float64']),
    ([[0]], ['shape', '1, 1']),
    (0, ['shape']),
])
def test_bad_ids(ids, parts):
    with refused(*parts):
        Vocabulary('abc').decode(ids)


def test_save_and_load(tmp_path):
    v = Vocabulary(['<eos>', 'ü', '語', '"', '\\', '\n', '\u2028', '😀'])
    path = tmp_path / 'vocabulary.json'
    path.write_text('old')
    v.save(path)
    assert Vocabulary.load(path) == v == Vocabulary.load(str(path))
    assert os.listdir(tmp_path) == ['vocabulary.json']
    assert '語' in path.read_text(encoding='utf-8')


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'vocabulary.json'
    path.write_text('old')

    def full(fd):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with refused('vocabulary.json', 'No space left'):
        Vocabulary('ab').save(path)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['vocabulary.json']
    with refused('nowhere', 'No such file'):
        Vocabulary('ab').save(tmp_path / 'nowhere' / 'v.json')


GOOD = {'format': 'rnnlm vocabulary', 'version': 1, 'words': ['a', 'b']}


@pytest.mark.parametrize('data, parts', [
    ('', ['does not parse']),
    ('{"format"', ['does not parse']),
    ('[' * 100000, ['does not parse']),
    ('["a", "b"]', ['another kind of file']),
    ('{"words": ["a"]}', ['another kind of file']),
    (json.dumps(dict(GOOD, version=2)), ['version 1', 'found 2']),
    (json.dumps(dict(GOOD, version=True)), ['version 1', 'found True']),
    (json.dumps(dict(GOOD, words='ab')), ['a list under "words"']),
    (json.dumps(dict(GOOD, words={'a': 1})), ['a list under "words"']),
    (json.dumps(dict(GOOD, words=[])), ['at least one token']),
    (json.dumps(dict(GOOD, words=['a', 1])), ['token 1']),
    (json.dumps(dict(GOOD, words=['a', 'a'])), ["'a' 2 times"]),
    (json.dumps(dict(GOOD, words=['\ud800'])), ['surrogate']),
    (b'\xff\xfe', ['UTF-8']),
])
def test_bad_vocabulary_file(write, data, parts):
    path = write('v.json', data)
    with refused('v.json', *parts):
        Vocabulary.load(path)
    write('v.json', json.dumps(GOOD))
    assert Vocabulary.load(path).words == ('a', 'b')


def test_missing_vocabulary_file(tmp_path):
    with refused('v.json', 'nothing there'):
        Vocabulary.load(tmp_path / 'v.json')


# --- text files ---

def test_file_by_word(write):
    path = write('roses.txt', WORDS.replace('\n', '\n \t\n', 3))
    c = load(path)
    whole = 'a rose is a rose <eos>'.split() * 20
    assert [len(c.train), len(c.valid), len(c.test)] == [108, 6, 6]
    assert c.vocabulary.words == ('a', 'rose', 'is', '<eos>')
    ids = np.concatenate([c.train, c.valid, c.test])
    assert c.vocabulary.decode(ids) == whole
    assert all(a.dtype == np.int32 for a in (c.train, c.valid, c.test))
    assert c.name == 'roses.txt' and c.tokens == 'word' and c.perplexity_limit is None
    assert c.summary() == 'roses.txt: 108 / 6 / 6 words, vocabulary 4'
    with pytest.raises(dataclasses.FrozenInstanceError):
        c.name = 'other'


def test_file_by_character(write):
    path = write('roses.txt', WORDS)
    c = load(path, 'char')
    ids = np.concatenate([c.train, c.valid, c.test])
    assert ''.join(c.vocabulary.decode(ids)) == WORDS
    assert [len(c.train), len(c.valid), len(c.test)] == [340 - 34, 17, 17]
    assert c.vocabulary.words == tuple('a rosei\n')
    assert c.summary() == 'roses.txt: 306 / 17 / 17 characters, vocabulary 8'


@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_byte_order_mark_and_line_ends_make_no_difference(write, tokens):
    plain = load(write('plain', WORDS), tokens)
    for i, data in enumerate([
            b'\xef\xbb\xbf' + WORDS.encode(), WORDS.replace('\n', '\r\n').encode(),
            WORDS.replace('\n', '\r').encode()]):
        other = load(write(f'other{i}', data), tokens)
        assert other.vocabulary == plain.vocabulary
        assert (other.train == plain.train).all() and (other.test == plain.test).all()


def test_last_line_without_newline_ends_too(write):
    a, b = load(write('a', WORDS)), load(write('b', WORDS[:-1]))
    assert (a.test == b.test).all()


def test_odd_characters_are_text(write):
    text = 'nul\0 日本 é 😀 tab\tx\n' * 10
    c = load(write('odd', text))
    assert {'nul\0', '日本', '😀', 'tab', 'x'} < set(c.vocabulary.words)
    c = load(write('odd', text), 'char')
    assert {'\0', '日', '😀', '\t', '\n'} < set(c.vocabulary.words)


def test_unk_only_when_needed(write):
    same = write('same', 'a b c d\n' * 10)
    assert '<unk>' not in load(same).vocabulary
    assert '<unk>' not in load(same, vocab_limit=5).vocabulary
    assert '<unk>' in load(same, vocab_limit=4).vocabulary
    new = write('new', 'a b c d\n' * 10 + 'x\n')
    c = load(new)
    assert c.vocabulary.words == ('a', 'b', 'c', 'd', '<eos>', '<unk>')
    assert c.vocabulary.decode(c.test) == ['<unk>', '<eos>']
    # The limit holds although <unk> comes in for the test text.
    c = load(new, vocab_limit=5)
    assert len(c.vocabulary) == 5 and c.vocabulary.decode(c.test)[0] == '<unk>'


def test_shortest_file(write):
    c = load(write('short', 'a\n' * 10))
    assert [len(c.train), len(c.valid), len(c.test)] == [16, 2, 2]
    with refused('short', 'at least 20', 'found 18'):
        load(write('short', 'a\n' * 9))
    with refused('short', 'found 19'):
        load(write('short', 'a' * 19), 'char')


@pytest.mark.parametrize('data, parts', [
    (b'', ['is empty']),
    (b'\xef\xbb\xbf', ['is empty']),
    (b' \n\t\n', ['whitespace only']),
    (b'a' * 50 + b'\xe9t\xe9', ['UTF-8', '0xe9 at offset 50', 'iconv']),
    (b'\xef\xbb\xbf' + b'a' * 50 + b'\xff', ['0xff at offset 53']),
    ('text'.encode('utf-16'), ['0xff at offset 0']),
])
@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_bad_file(write, data, parts, tokens):
    with refused('bad.txt', *parts):
        load(write('bad.txt', data), tokens)
    with refused('ptb.valid.txt', *parts):
        load(folder(write, WORDS, data, WORDS), tokens)


def test_unreadable_file(write, monkeypatch):
    path = write('secret.txt', WORDS)

    def forbidden(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('os.open', forbidden)
    with refused('secret.txt', 'Permission denied'):
        load(path)


@pytest.mark.parametrize('spec, parts', [
    ('no/such/file', ["'no/such/file'", "'demo', 'ptb', a folder", 'text file',
                      'does not exist']),
    ('PTB', ["did you mean 'ptb'"]),
    ('demos', ["did you mean 'demo'"]),
    ('', ['does not exist']),
    (3, ['a name or a path', '3']),
    (None, ['None']),
])
def test_unknown_corpus(spec, parts):
    with refused(*parts):
        load(spec)


@pytest.mark.parametrize('tokens', ['words', '', None, 'Char'])
def test_bad_tokens(tokens):
    with refused("'word' or 'char'", repr(tokens)):
        load('no such corpus either', tokens)


# --- directories ---

@pytest.mark.parametrize('prefix', ['ptb.', ''])
def test_directory(write, prefix):
    path = folder(write, ' a b \n\n b c \n', 'c a\n', 'b z', prefix)
    c = load(path, min_count=1)
    assert c.name == 'folder'
    # An empty line is an <eos>, as Chainer's loader has it.
    assert c.vocabulary.decode(c.train) == 'a b <eos> <eos> b c <eos>'.split()
    assert c.train.tolist() == [0, 1, 2, 2, 1, 3, 2]
    assert c.vocabulary.decode(c.valid) == 'c a <eos>'.split()
    assert c.vocabulary.decode(c.test) == 'b <unk> <eos>'.split()
    assert load(path + os.sep).name == 'folder'
    c = load(path, 'char', min_count=1)
    assert ''.join(c.vocabulary.decode(c.train)) == ' a b \n\n b c \n'


def test_directory_with_files_missing(write, tmp_path):
    with refused('expected a folder with documents that end in .txt',
                 'or with train.txt', 'ptb.train.txt', 'wiki.train', 'none of these$'):
        load(tmp_path)
    write('train.txt', WORDS)
    write('test.txt', WORDS)
    with refused('missing: valid.txt$'):
        load(tmp_path)
    write('ptb.train.txt', WORDS)
    write('ptb.valid.txt', WORDS)
    write('ptb.test.txt', WORDS)
    assert load(tmp_path).summary().endswith('120 / 120 / 120 words, vocabulary 4')


def test_directory_with_a_part_of_one_token(write):
    with refused('folder', 'at least 2 tokens', 'test part, found 1'):
        load(folder(write, WORDS, WORDS, 'a'), 'char')


# --- the demo corpus ---

def test_demo():
    c = load('demo')
    assert isinstance(c, Corpus)
    assert [hashlib.sha256(a.astype('<i4').tobytes()).hexdigest()[:16]
            for a in (c.train, c.valid, c.test)] == [
                '85784b304601ba56', '96c40464420e2b70', '2357bbc03c5878fe']
    assert c.summary() == 'demo: 100,012 / 6,004 / 6,001 words, vocabulary 161'
    assert set(c.train.tolist()) == set(range(161)) and '<unk>' not in c.vocabulary
    assert c.perplexity_limit == demo.demo().perplexity()
    text = c.vocabulary.decode(c.valid)
    assert demo.sample_perplexity(text) == pytest.approx(
        c.perplexity_limit, rel=.05)


def test_demo_by_character_is_the_same_text():
    c = load('demo', 'char')
    text = ''.join(c.vocabulary.decode(c.test))
    assert text.replace('\n', ' <eos> ').split() == demo.corpus()[2]
    assert '  ' not in text and ' \n' not in text and '\n ' not in text
    assert c.perplexity_limit == demo.demo().perplexity('char')
    lines = text.splitlines()
    entropy = -sum(map(demo.demo().log_probability, lines)) / len(text)
    assert np.exp(entropy) == pytest.approx(c.perplexity_limit, rel=.02)


def test_demo_with_a_limit_has_no_known_perplexity():
    c = load('demo', vocab_limit=50)
    assert len(c.vocabulary) == 50 and c.perplexity_limit is None
    assert load('demo', vocab_limit=161).perplexity_limit is not None


def test_demo_leaves_numpys_generator_alone():
    np.random.seed(0)
    first = np.random.rand()
    np.random.seed(0)
    demo.corpus()
    load('demo')
    assert np.random.rand() == first
