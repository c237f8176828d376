"""Several files, folders of documents, other names of parts, gzip; and vocabularies."""
import gzip
import io
import os
import re
import sys

from helpers import refused
import pytest

import rnnlm
from rnnlm.data.corpus import Vocabulary, encode, encode_source, load
from rnnlm.data.lines import read_lines
from rnnlm.data.sources import find_unsplit

TEXT = 'a rose is a rose\n' * 20


def tokens_of(corpus):
    return [token for part in ('train', 'valid', 'test')
            for token in corpus.vocabulary.decode(getattr(corpus, part))]


@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_files_in_a_row(write, tokens):
    whole = load(write('whole', TEXT + 'the rose\n' + TEXT), tokens)
    # The second without an end of line: it has one nevertheless.
    files = [write('1.txt', TEXT), write('2.txt', '\ufeffthe rose'),
             write('3.txt', TEXT.replace('\n', '\r\n'))]
    several = load(files, tokens)
    assert tokens_of(several) == tokens_of(whole)
    assert several.name == '3 files' and several.source['corpus'] == files
    assert tokens_of(load(several.source['corpus'], tokens)) == tokens_of(whole)


@pytest.mark.parametrize('name', ['demo', 'ptb', '-'])
def test_files_and_another_text(write, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write('1.txt', TEXT)
    with refused(f"^corpus: '{name}': .*cannot be combined with other texts"):
        load(['1.txt', name])


def test_a_folder_of_documents(write, tmp_path):
    write('d/b.txt', 'the rose')
    write('d/c/a.txt', TEXT.replace('is', 'was'))
    write('d/a.txt.gz', gzip.compress(TEXT.encode()))
    write('d/.hidden.txt', 'no')
    write('d/.git/e.txt', 'no')
    write('d/notes.md', 'no')
    other = TEXT.replace('is', 'was')
    found = load(tmp_path / 'd')
    assert tokens_of(found) == tokens_of(
        load(write('w', TEXT + 'the rose\n' + other)))
    assert found.name == 'd'
    whole, = encode_source(find_unsplit(str(tmp_path / 'd')), found.vocabulary)
    assert found.vocabulary.decode(whole.ids[:3]) == ['a', 'rose', 'is']


def test_folders_that_are_too_deep(tmp_path):
    """Of a thousand Python's own walk makes a RecursionError, before 3.12."""
    os.makedirs(os.path.join(tmp_path, *['x'] * 101))
    with refused('at most 100 deep'):
        load(str(tmp_path))


@pytest.mark.skipif(os.name != 'posix', reason='needs paths longer than allowed')
@pytest.mark.parametrize('read', [load, find_unsplit])
def test_a_subfolder_that_cannot_be_read(write, tmp_path, monkeypatch, read):
    """Its path is too long, which is an error for root too."""
    write('d/a.txt', TEXT)
    monkeypatch.chdir(tmp_path / 'd')
    for _ in range(25):
        os.mkdir('x' * 200)
        os.chdir('x' * 200)
    with open('b.txt', 'w') as f:
        f.write(TEXT)
    with refused('/d: expected folders that can be read', 'too long', 'x/xxx'):
        read(str(tmp_path / 'd'))


@pytest.mark.skipif(os.name != 'posix', reason='needs symbolic links')
def test_links_to_folders_are_not_followed(write, tmp_path):
    write('d/a.txt', TEXT)
    write('other/b.txt', TEXT)
    os.symlink(tmp_path / 'other', tmp_path / 'd' / 'link')
    os.symlink(tmp_path / 'other' / 'b.txt', tmp_path / 'd' / 'b.txt')
    found, = find_unsplit(str(tmp_path / 'd')).parts
    assert [os.path.relpath(path, tmp_path / 'd') for path in found] == [
        'a.txt', 'b.txt']


def test_a_folder_without_documents(tmp_path):
    with refused('expected a folder with documents', 'ptb.train.txt', 'none of these'):
        load(tmp_path)
    with refused('a folder of documents', 'found a folder without'):
        find_unsplit(tmp_path)


@pytest.mark.parametrize('names', [
    ('wiki.train.tokens', 'wiki.valid.tokens', 'wiki.test.tokens'),
    ('wiki.train.raw', 'wiki.valid.raw', 'wiki.test.raw'),
    ('train.txt', 'val.txt', 'test.txt'),
    ('train.txt.gz', 'valid.txt', 'test.txt.gz')])
def test_names_of_parts(write, tmp_path, names):
    texts = ' \n = Title = \n \n b <unk> b\n', ' = Title = \n', 'b c\n'
    for name, text in zip(names, texts):
        data = text.encode()
        write(f'f/{name}', gzip.compress(data) if name.endswith('.gz') else data)
    found = load(tmp_path / 'f')
    # An empty line is an <eos>, and <unk> is the text's own.
    assert found.vocabulary.decode(found.train) == (
        '<eos> = Title = <eos> <eos> b <unk> b <eos>'.split())
    assert found.vocabulary.decode(found.test) == 'b <unk> <eos>'.split()
    assert found.unknown_rate('train') == 1 / 10


def test_parts_that_are_not_complete(write, tmp_path):
    write('f/wiki.train.tokens', TEXT)
    write('f/wiki.test.tokens', TEXT)
    with refused('missing: wiki.valid.tokens$'):
        load(tmp_path / 'f')


@pytest.mark.parametrize('tokens, end', [('word', '<eos>'), ('char', '\n')])
@pytest.mark.parametrize('last', ['', '\n'])
def test_one_line_ends_in_each_part(write, tokens, end, last):
    found = load(write('text8', 'a b c d ' * 100 + last), tokens)
    for part in found.train, found.valid, found.test:
        assert found.vocabulary.decode(part).count(end) == 1
        assert found.vocabulary.decode(part)[-1] == end


def test_ptb_and_texts_with_unk_keep_all_words(write, tmp_path):
    for part in 'train', 'valid', 'test':
        write(f'p/ptb.{part}.txt', 'once upon\n')
    assert '<unk>' not in load(tmp_path / 'p').vocabulary
    assert 'once' in load(write('own', 'once <unk>\n' + TEXT)).vocabulary
    assert 'once' not in load(write('own', 'once\n' + TEXT)).vocabulary
    assert 'once' in load(write('own', 'once\n' + TEXT), min_count=1).vocabulary


def test_min_count():
    text = 'a b a c <eos> c c'.split()
    assert Vocabulary.from_tokens(text, min_count=2).words == (
        'a', '<unk>', 'c', '<eos>')
    assert Vocabulary.from_tokens(text, min_count=3).words == ('<unk>', 'c', '<eos>')
    assert Vocabulary.from_tokens(text, 3, min_count=2).words == ('a', '<unk>', 'c')
    assert Vocabulary.from_tokens(text, min_count=1).words == ('a', 'b', 'c', '<eos>')
    for wrong in 0, 1.5, 'x':
        with refused('min_count', 'at least 1'):
            load('demo', min_count=wrong)


def test_a_vocabulary_that_is_given(write, tmp_path):
    text = write('text', TEXT)
    vocabulary = Vocabulary(['<eos>', 'is', 'a', 'rose'], 'word')
    vocabulary.save(tmp_path / 'v.json')
    listed = write('v', '<eos>\nis\r\na\n\nrose\n')
    for given in vocabulary, tmp_path / 'v.json', listed:
        found = load(text, vocabulary=given)
        assert found.vocabulary == vocabulary
        assert tokens_of(found) == tokens_of(load(text))
    # What is needed comes to its end.
    found = load(text, vocabulary=Vocabulary(['is', 'a'], 'word'))
    assert found.vocabulary.words == ('is', 'a', '<eos>', '<unk>')
    assert found.source['vocabulary'] is None
    assert load(text, vocabulary=tmp_path / 'v.json').source['vocabulary'] == str(
        tmp_path / 'v.json')
    with refused('v:2: expected one word per line', "'a rose'"):
        load(text, vocabulary=write('v', 'is\na rose\n'))
    with refused('vocabulary: cannot be combined'):
        load(text, min_count=2, vocabulary=vocabulary)
    with refused('different tokens'):
        load(text, vocabulary=write('v', 'is\nis\n'))


@pytest.mark.parametrize('data, advice, of_score', [
    (gzip.compress(TEXT.encode()), 'or add .gz to its name', 'with gunzip -c$'),
    *((mark + TEXT.encode(f'utf-{bits}-{end}'), f'iconv -f utf-{bits} -t utf-8', '')
      for bits, end, mark in (
          (16, 'le', b'\xff\xfe'), (16, 'be', b'\xfe\xff'),
          (32, 'le', b'\xff\xfe\0\0'), (32, 'be', b'\0\0\xfe\xff'))),
    (TEXT.encode() + b'caf\xe9', 'iconv -f latin1 -t utf-8, with the encoding', ''),
    # The same bytes further on say nothing.
    (b'a' * 2 ** 16 + b'\n\xff\xfe', 'iconv -f latin1 -t utf-8', '')],
    ids=['gzip', '16le', '16be', '32le', '32be', 'latin1', 'later'])
def test_what_to_do_with_another_encoding(write, data, advice, of_score):
    path = write('text', data)
    for read in load, lambda path: load('demo', vocabulary=path):
        with refused('text: expected text in UTF-8', advice):
            read(path)
    problem = next(line.problem for group in read_lines(path, 256)
                   for line in group if line.problem)
    assert re.search(of_score or advice, problem)


@pytest.mark.parametrize('form', ['file', 'gzip', 'pipe', 'standard input'])
@pytest.mark.parametrize('kind', ['json', 'list', 'damaged'])
def test_a_vocabulary_is_read_once(write, tmp_path, monkeypatch, form, kind):
    vocabulary = Vocabulary(['<eos>', 'is', 'a', 'rose'], 'word')
    data = {'json': vocabulary.to_bytes(), 'damaged': b'{"format": 1}',
            'list': '\n'.join(vocabulary.words).encode()}[kind]
    path = write('v', data)
    if form == 'gzip':
        path = write('v.gz', gzip.compress(data))
    elif form == 'pipe':
        if not os.path.isdir('/dev/fd'):
            pytest.skip('needs /dev/fd')
        end, other = os.pipe()
        os.write(other, data)
        os.close(other)
        path = f'/dev/fd/{end}'
    elif form == 'standard input':
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(data)))
        path = '-'
    text = write('text', TEXT)
    if kind == 'damaged':
        name = form if form == 'standard input' else path
        with refused(f'{name}: expected a vocabulary, a JSON object'):
            load(text, vocabulary=path)
    else:
        assert load(text, vocabulary=path).vocabulary == vocabulary


@pytest.mark.parametrize('content, tokens, message', [
    ('a\n \n<unk>\n<eos>\nb', 'char', None),
    ('a\nrose', 'char', "v:2: expected one character per line, found 'rose'"),
    ('rose\nr', 'word', None),
    (Vocabulary('\nab', 'byte'), 'char', None),
    (Vocabulary('\na\xe9', 'byte'), 'char', 'of characters, found one of bytes'),
    (Vocabulary('\nab', 'byte'), 'word', 'of words, found one of characters'),
    (Vocabulary('ab', 'char'), 'word', 'of words, found one of characters'),
    (Vocabulary('ab', 'word'), 'char', 'of characters, found one of words')])
def test_a_vocabulary_of_another_kind(write, content, tokens, message):
    data = content if isinstance(content, str) else content.to_bytes()
    text, path = write('text', TEXT), write('v', data)
    if message:
        with refused('vocabulary: .*v', message):
            load(text, tokens, vocabulary=path)
    else:
        found = load(text, tokens, vocabulary=path)
        assert found.vocabulary.tokens == tokens
        whole = load(text, tokens, vocabulary=Vocabulary(
            found.vocabulary.words, tokens))
        assert found.digest() == whole.digest()


def test_the_kind_of_the_tokens_is_kept(write, tmp_path):
    text = write('text', 'a b a b\n' * 20)
    for tokens, single in (('word', 'a'), ('char', ' ')):
        found = load(text, tokens).vocabulary
        assert found.tokens == tokens and single in found
        found.save(tmp_path / 'v.json')
        assert Vocabulary.load(tmp_path / 'v.json').tokens == tokens
    path = write('v.json', '{"format": "rnnlm vocabulary", "version": 1, '
                           '"tokens": "letters", "words": ["a"]}')
    with refused('v.json', 'tokens', "'char' or 'byte'", "'letters'"):
        Vocabulary.load(path)


def test_encode_by_another_vocabulary():
    tokens = 'a b c a'.split()
    found = encode(Vocabulary(['c', 'a']), tokens)
    assert found.ids.tolist() == [1, 0, 1] and found.rate == 1 / 4
    found = encode(Vocabulary(['c', 'a', '<unk>']), tokens)
    assert found.ids.tolist() == [1, 2, 0, 1] and found.n_unknown == 1


def test_a_corpus_of_ids_knows_its_rate():
    vocabulary = rnnlm.Vocabulary(['a', '<unk>'])
    ids = vocabulary.encode(['a', 'x', 'a', 'a'])
    corpus = rnnlm.Corpus('mine', ids, ids[:1], ids[1:2], vocabulary)
    assert [corpus.unknown_rate(part) for part in ('train', 'valid', 'test')] == [
        0.25, 0, 1]
    with refused('part'):
        corpus.unknown_rate('all')


def test_a_pipe_among_the_documents_is_refused(tmp_path):
    if not hasattr(os, 'mkfifo'):
        pytest.skip('no named pipes here')
    os.mkfifo(tmp_path / 'a.txt')
    with refused('a.txt', 'a pipe'):
        load(tmp_path)
