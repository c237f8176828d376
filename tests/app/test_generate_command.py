"""``rnnlm generate``: what it prints, and options that do not fit."""
import math

import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app.generate import SEPARATOR

WORDS = ('<eos>', 'the', 'cat', 'dog', 'sleeps', 'sees', '<unk>')


def write_run(folder, words):
    folder.mkdir()
    numpy.random.seed(3)
    model = rnnlm.RNNForLM(len(words), 8, init_scale=0.9)
    rnnlm.save_npz(str(folder / 'model.npz'), model)
    rnnlm.Vocabulary(words).save(str(folder / 'vocabulary.json'))
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / 'run', WORDS)


@pytest.fixture
def by_character(tmp_path):
    return write_run(tmp_path / 'characters', 'abc \n')


@pytest.fixture
def run(capsys):
    def run(*args, status=0):
        assert cli.main(['generate', *map(str, args)]) == status
        out, err = capsys.readouterr()
        return out if status == 0 else (out, err)
    return run


def test_a_sentence(folder, run):
    for seed in range(5):
        whole = run(folder, '--seed', seed, '-p', 'the')
        assert run(folder, '--seed', seed, '-p', 'the', '--sentence') == (
            whole.split('\n')[0] + '\n')


def test_a_line_of_characters(by_character, run):
    whole = run(by_character, '--seed', 1, '-p', 'ab')
    assert run(by_character, '--seed', 1, '-p', 'ab', '--sentence') == (
        whole.split('\n')[0] + '\n')


@pytest.mark.parametrize('options', [['--greedy'], ['--beam', '3']])
def test_a_sentence_that_is_not_drawn(folder, run, options):
    assert run(folder, '--sentence', '--length', 50, *options).count('\n') == 1


def test_no_unk(folder, run, tmp_path):
    assert '<unk>' in run(folder, '--length', 300, '--seed', 1)
    for options in ['--seed', '1'], ['--greedy'], ['--beam', '3']:
        text = run(folder, '--length', 100, '--no-unk', *options)
        assert '<unk>' not in text
    run(write_run(tmp_path / 'without', WORDS[:-1]), '--no-unk')


def test_samples_are_apart(folder, run):
    texts = run(folder, '--length', 9, '-p', 'the', '--samples', 3, '--seed', 1).split(
        f'{SEPARATOR}\n')
    assert len(texts) == len(set(texts)) == 3
    for text in texts:
        assert text.startswith('the ') and text.endswith('\n')
    assert texts[0] == run(folder, '--length', 9, '-p', 'the', '--seed', 1)
    assert run(folder, '--sentence', '--samples', 4).count('\n') == 4


def test_a_line_feed_in_a_prime_ends_a_sentence(folder, by_character, run, tmp_path):
    trained = rnnlm.load(folder)
    for text, ids in (('the cat\n', [1, 2, 0]), ('\nthe', [0, 1]), ('\n', [0]),
                      ('the\r\ncat', [1, 0, 2])):
        assert trained.encode_prime(text).tolist() == ids
    assert run(folder, '-p', 'the cat\n', '--seed', 1).startswith('the cat\n')
    assert ' \n' not in run(folder, '-p', 'the cat\n', '--seed', 1)
    characters = rnnlm.load(by_character)
    assert characters.encode_prime('a\r\n').tolist() == [0, 4]
    without = rnnlm.load(write_run(tmp_path / 'without', WORDS[1:]))
    assert without.encode_prime('the\ncat').tolist() == [0, 1]


def test_unknown_words_of_a_prime(folder, run):
    out, err = run(folder, '-p', 'the caat', status=2)
    assert out == '' and err.startswith('rnnlm generate: error: --primetext: expected ')
    assert "'caat'" in err and "'cat'" in err and '--skip-unknown' in err
    found = run(folder, '-p', 'the caat dog', '--skip-unknown', '--greedy')
    known = run(folder, '-p', 'the dog', '--greedy')
    assert found.replace('the caat dog', 'the dog', 1) == known
    out, err = run(folder, '-p', 'caat', '--skip-unknown', status=2)
    assert '--primetext: expected at least one word of the vocabulary' in err
    assert '--primetext: expected at least one word' in run(
        folder, '-p', '', status=2)[1]


@pytest.mark.parametrize('args, message', [
    (['--beam', '0'], '--beam: expected an integer of at least 1'),
    (['--samples', '0'], '--samples: expected'),
    (['--length', '-1'], '--length: expected'),
    (['--temperature', '0'], '--temperature: expected'),
    (['--temperature', 'nan'], '--temperature: expected'),
    (['--top-k', '0'], '--top-k: expected'),
    (['--top-p', '1.5'], '--top-p: expected a probability above 0 and at most 1'),
    (['--top-p', '0'], '--top-p: expected'),
    (['--beam', '2', '--greedy'], '--beam cannot be combined with --greedy'),
    (['--beam', '2', '--temperature', '1'], '--beam cannot be combined with --temper'),
    (['--beam', '2', '--top-k', '3', '--top-p', '.5', '--seed', '1', '--samples', '2'],
     '--beam cannot be combined with --top-k, --top-p, --samples, --seed'),
    (['--greedy', '--temperature', '2', '--top-k', '2'],
     '--greedy cannot be combined with --temperature, --top-k'),
    (['--skip-unknown'], '--skip-unknown can only be used with --primetext'),
    (['--device', 'abacus'], '--device: expected'),
])
def test_what_does_not_fit_is_refused_before_a_word(folder, run, args, message):
    prime = [] if '--skip-unknown' in args else ['-p', 'the']
    out, err = run(folder, *prime, *args, status=2)
    assert out == '' and err.count('\n') == 1
    assert err.startswith(f'rnnlm generate: error: {message}')
    if '--temperature' in args and len(args) == 2:
        assert '--greedy' in err


def test_weights_that_give_nan(folder, run):
    model = rnnlm.load(folder).model
    model.output.W.array[1] = math.nan
    rnnlm.save_npz(f'{folder}/model.npz', model)
    assert 'finite weights' in run(folder, status=2)[1]
