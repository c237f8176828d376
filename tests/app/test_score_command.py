"""``rnnlm score``: what it reads, what it prints, and SRILM's formulas."""
import io
import json
import math
import os
import re
import subprocess
import sys

from helpers import ROOT
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app import score as score_command
from rnnlm.data import lines

WORDS = ('<eos>', 'the', 'cat', 'dog', 'sleeps', 'sees', '<unk>')
TEXT = 'the cat sleeps\n\nthe dog sees the zebra\n'
IDS = [1, 2, 4], [], [1, 3, 5, 1, 6]


def write_run(folder, words=WORDS, seed=3, units=8):
    folder.mkdir(exist_ok=True)
    numpy.random.seed(seed)
    model = rnnlm.RNNForLM(len(words), units, init_scale=0.9)
    rnnlm.save_npz(str(folder / 'model.npz'), model)
    rnnlm.Vocabulary(words).save(str(folder / 'vocabulary.json'))
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / 'run')


@pytest.fixture
def bare(tmp_path):
    """A model without <unk>."""
    return write_run(tmp_path / 'bare', WORDS[:-1])


@pytest.fixture
def stdin(monkeypatch):
    def give(text):
        data = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(data)))
    return give


@pytest.fixture
def score(capsys):
    def score(*args, status=0):
        assert cli.main(['score', *map(str, args)]) == status
        return capsys.readouterr()
    return score


def log10_probs(folder, ids):
    """Of each word and the end, in float64, by the links."""
    model = rnnlm.load(folder).model
    found = rnnlm.score_text(model, [0, *ids, 0]) / math.log(10)
    return numpy.asarray(found)


# --- the forms of the output ---

def test_lines(folder, stdin, score):
    stdin(TEXT)
    out, err = score(folder)
    for line, ids, oov in zip(out.splitlines(), IDS, '001'):
        first, unknown, words = line.split('\t')
        assert abs(float(first) - log10_probs(folder, ids).sum()) < 1e-3
        assert unknown == oov
        numpy.testing.assert_allclose(
            [float(value) for value in words.split()[1::2]], log10_probs(folder, ids),
            atol=1e-3)
    assert words.split()[::2] == ['the', 'dog', 'sees', 'the', 'zebra', '<eos>']
    every = numpy.concatenate([log10_probs(folder, ids) for ids in IDS])
    known = numpy.delete(every, -2)
    assert err == (
        'total: 3 sentences, 8 words, 1 of them unknown (12.50%), perplexity '
        f'{10 ** -known.mean():.6g} without the unknown words, '
        f'{10 ** -every.mean():.6g} with them as <unk>\n')


def test_json(folder, stdin, score):
    stdin(TEXT)
    out = score(folder, '--json', '-q').out
    found = [json.loads(line) for line in out.splitlines()]
    for entry, ids in zip(found, IDS):
        expected = log10_probs(folder, ids)
        assert abs(entry['logprob'] - expected.sum()) < 1e-6
        numpy.testing.assert_allclose(
            [value for _, value in entry['words']], expected, atol=1e-6)
    assert [entry['oov'] for entry in found] == [0, 0, 1]


def test_the_total_alone(folder, stdin, score):
    stdin(TEXT)
    found = json.loads(score(folder, '--total', '--json').out)
    assert (found['sentences'], found['words'], found['oov']) == (3, 8, 1)
    assert found['oov rate'] == 1 / 8
    every = numpy.concatenate([log10_probs(folder, ids) for ids in IDS])
    assert abs(found['perplexity'] / 10 ** -every.mean() - 1) < 1e-6
    stdin(TEXT)
    out, err = score(folder, '--total')
    assert out.startswith('total: 3 sentences') and err == ''


def test_quiet(folder, stdin, score):
    stdin(TEXT)
    assert score(folder, '--quiet').err == ''


def strict(text):
    """Parses JSON, which has no NaN or Infinity."""
    def refuse(name):
        raise AssertionError(name)
    return json.loads(text, parse_constant=refuse)


def test_without_unk_a_text_is_scored_all_the_same(bare, stdin, score):
    stdin(TEXT)
    out, err = score(bare)
    last = out.splitlines()[2].split('\t')
    assert last[1] == '1' and ' zebra -inf ' in last[2]
    assert abs(float(last[0]) - log10_probs(bare, [1, 3, 5, 1]).sum()) < 1e-3
    assert 'without the unknown words' in err and 'as <unk>' not in err
    stdin(TEXT)
    found = [strict(line) for line in score(bare, '--json').out.splitlines()]
    assert found[2]['words'][4] == ['zebra', None] and found[2]['oov'] == 1
    stdin(TEXT)
    total = strict(score(bare, '--json', '--total').out)
    assert total['perplexity'] is None and total['perplexity without oov'] > 1


# --- SRILM ---

def same(found, expected):
    """Whether two texts are the same but for the last digits of their numbers."""
    number = r'-?\d+\.\d+(?:e[+-]\d+)?'
    assert re.split(number, found) == re.split(number, expected)
    numpy.testing.assert_allclose(
        [float(one) for one in re.findall(number, found)],
        [float(one) for one in re.findall(number, expected)], rtol=1e-4)


def srilm(probs, unk=False):
    """What SRILM's documentation says of a text, from its words' log10 p and whether
    each is <unk>: OOVs are in neither the logprob nor the denominators; the ends of
    sentences are in ppl's alone."""
    logprob = sum(p for one in probs for p, is_unk in one if unk or not is_unk)
    oovs = sum(is_unk and not unk for one in probs for _, is_unk in one)
    words = sum(len(one) - 1 for one in probs)
    ppl = 10 ** (-logprob / (words - oovs + len(probs)))
    ppl1 = 10 ** (-logprob / (words - oovs)) if words > oovs else None
    return (f'{len(probs)} sentences, {words} words, {oovs} OOVs\n'
            f'0 zeroprobs, logprob= {logprob:.6g} ppl= {ppl:.6g} ppl1= '
            + (f'{ppl1:.6g}\n' if ppl1 is not None else 'undefined\n'))


@pytest.mark.parametrize('unk', [False, True])
def test_srilm(folder, tmp_path, score, unk):
    text = TEXT.replace('dog', '<unk>')  # which is an OOV itself, as there
    ids = IDS[0], IDS[1], [1, 6, 5, 1, 6]
    (tmp_path / 'text').write_text(text)
    out = score('--srilm', *['--unk'] * unk, folder, tmp_path / 'text').out
    probs = [[(p, word == 6) for p, word in zip(log10_probs(folder, one), [*one, 0])]
             for one in ids]
    *parts, total = re.findall('.*sentences.*\\n.*zeroprobs.*\\n', out)
    same(total, f'file {tmp_path / "text"}: {srilm(probs, unk)}')
    for part, one in zip(parts, probs):
        same(part, srilm([one], unk))
    assert len(parts) == 3
    assert out.startswith('the cat sleeps\n\tp( the | <s> ) \t= [rnn] ')
    assert '\tp( </s> | sleeps ...) \t= [rnn] ' in out
    assert ('\tp( zebra | the ...) \t= [OOV] 0 [ -inf ]\n' in out) == (not unk)


def test_srilm_without_unk(bare, stdin, score):
    stdin('the zebra\nzebra\n')
    out = score('--srilm', bare).out
    probs = [[(p, False) for p in log10_probs(bare, one)] for one in ([1], [])]
    for one in probs:
        one.insert(-1, (0, True))
    first, second, total = re.findall('.*sentences.*\\n.*zeroprobs.*\\n', out)
    same(second, srilm(probs[1:]))
    same(total, f'file -: {srilm(probs)}')
    assert '--unk: expected a vocabulary with <unk>' in score(
        '--srilm', '--unk', bare, status=2).err


# --- what is read ---

LINES = {
    'nothing': (b'', []),
    'no end': (b'the cat', ['the cat']),
    'CRLF': (b'the cat\r\n\r\ndog\r\n', ['the cat', '', 'dog']),
    'byte order mark': (b'\xef\xbb\xbfthe cat\n\xef\xbb\xbf\n', ['the cat', '\ufeff']),
    'no other ends': ('a\fb\vc\x1cd\x85e\u2028f\rg\nh'.encode(),
                      ['a\fb\vc\x1cd\x85e\u2028f\rg', 'h']),
    'a long line': (b'the ' * 50000 + b'\ncat\n', ['the ' * 50000, 'cat']),
    'many lines': (b'the\n' * 70000, ['the'] * 70000),
}


@pytest.mark.parametrize('name', LINES)
def test_a_file_and_standard_input_are_read_alike(name, tmp_path, stdin):
    data, expected = LINES[name]
    (tmp_path / 'text').write_bytes(data)
    for path in str(tmp_path / 'text'), None, '-':
        stdin(data)
        groups = list(lines.read_lines(path, 50))
        found = [line for group in groups for line in group]
        assert [line.text for line in found] == expected
        assert [line.number for line in found] == list(range(1, len(found) + 1))
        assert sum(line.size for line in found) == len(data)
        assert all(len(group) <= 50 for group in groups)


@pytest.mark.parametrize('place', ['file', 'stdin'])
@pytest.mark.parametrize('form', [[], ['--json'], ['--srilm'], ['--total']])
def test_a_bad_line_loses_no_good_one(folder, tmp_path, stdin, score, place, form):
    data = 'the cat\nvoilà\nthe dog\nvoilà\n'.encode('latin-1')
    (tmp_path / 'text').write_bytes(data)
    stdin(data)
    name = str(tmp_path / 'text') if place == 'file' else 'standard input'
    out, err = score(
        *form, folder, *[tmp_path / 'text'] * (place == 'file'), status=2)
    assert err.count('error:') == 1
    assert f'{name}:2: expected text in UTF-8, found byte 0xe0' in err
    assert 'iconv -f latin1 -t utf-8' in err
    if form == ['--total']:
        assert '2 sentences' in out and '2 lines could not be read' in out
    elif form == ['--json']:
        found = [json.loads(line) for line in out.splitlines()]
        assert [entry['sentence'] for entry in found] == [
            'the cat', None, 'the dog', None]
    elif form == []:  # the lines of the output stay beside those of the input
        assert [bool(line) for line in out.splitlines()] == [True, False, True, False]
    else:  # a sentence is three tokens, two lines of counts and an empty line
        found = [bool(line) for line in out.splitlines()]
        sentence = [True] * 6 + [False]
        assert found == sentence + [False] + sentence + [False] + [True] * 2
        assert '2 sentences, 4 words' in out


def test_a_line_without_end(folder, stdin, score, monkeypatch):
    monkeypatch.setattr(lines, 'LONGEST_LINE', 2 ** 17)
    stdin(b'the cat\n' + b'x' * 2 ** 18)
    out, err = score(folder, status=2)
    assert out.count('\n') == 1 and 'standard input:2: expected one sentence' in err


def test_files_that_are_none(folder, tmp_path, score):
    assert 'no such' in score(folder, tmp_path / 'no such', status=2).err
    assert 'expected a text that can be read' in score(folder, tmp_path, status=2).err
    assert 'Traceback' not in score(folder, 'a\0b', status=2).err


@pytest.mark.skipif(os.name != 'posix', reason='needs pseudo-terminals')
@pytest.mark.parametrize('terminal', [False, True])
def test_a_co_process_gets_its_answers(folder, terminal):
    import pty
    ours, theirs = pty.openpty() if terminal else os.pipe()[::-1]
    with subprocess.Popen(
            [sys.executable, '-m', 'rnnlm', 'score', folder, '-q'], stdin=theirs,
            stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=ROOT)) as process:
        os.close(theirs)
        for sentences in 'the cat\n', 'the dog\n', 'the\ndog\ncat\n':
            os.write(ours, sentences.encode())
            for word in sentences.splitlines():
                answer = process.stdout.readline().decode()
                assert f'\t{word.split()[0]} ' in answer
        os.write(ours, b'\x04') if terminal else os.close(ours)
        assert process.stdout.read() == b'' and process.wait() == 0
    if terminal:
        os.close(ours)


# --- mixtures and n-best lists ---

def test_a_mixture(folder, tmp_path, stdin, score):
    other = write_run(tmp_path / 'other', WORDS[:1] + WORDS[:0:-1], 4, 5)
    ids = {word: k for k, word in enumerate(rnnlm.load(other).vocabulary.words)}
    for args, weight in (([], 0.5), (['--weight', '0.2'], 0.2)):
        stdin('the cat\nzebra\n')
        out = score(folder, '--mix', other, *args, '--json').out
        for line, words in zip(out.splitlines(), (['the', 'cat'], ['<unk>'])):
            one = 10 ** log10_probs(folder, [WORDS.index(word) for word in words])
            two = 10 ** log10_probs(other, [ids[word] for word in words])
            numpy.testing.assert_allclose(
                [value for _, value in json.loads(line)['words']],
                numpy.log10(weight * one + (1 - weight) * two), atol=1e-5)
    third = write_run(tmp_path / 'third', WORDS[:-1] + ('fox',))
    assert '--mix: expected a model with the vocabulary of' in score(
        folder, '--mix', third, status=2).err


def test_rescoring(folder, stdin, score):
    stdin('0 ||| the cat sleeps ||| tm= -1 ||| -1.5\n'
          '0 ||| cat the ||| tm= -1 ||| -1\n'
          '1 ||| dog ||| tm= -2 ||| -2\n')
    out = score(folder, '--nbest', '--lm-weight', 2, '--word-penalty', -.5).out
    expected = {}
    for ident, words, ids, given in (
            ('0', 'the cat sleeps', [1, 2, 4], -1.5), ('0', 'cat the', [2, 1], -1),
            ('1', 'dog', [3], -2)):
        log_p = log10_probs(folder, ids).sum() * math.log(10)
        expected[words] = ident, given + 2 * log_p - .5 * len(ids)
    found = [line.split(' ||| ') for line in out.splitlines()]
    for ident, words, feature, total in found:
        assert ident == expected[words][0] and feature.startswith('tm= ')
        assert abs(float(total) - expected[words][1]) < 1e-3
    assert [line[0] for line in found] == ['0', '0', '1']
    assert float(found[0][3]) >= float(found[1][3])


@pytest.mark.parametrize('line, found', [
    *((line, repr(line)) for line in (
        '0 ||| the cat', '0 ||| a ||| nan', '0 ||| a ||| x', '0 ||| a ||| inf', '')),
    ('0 ||| \udce0 ||| -1', 'byte 0xe0')])
def test_a_bad_line_of_n_best_lists_is_refused_before_any_is_scored(
        folder, stdin, score, monkeypatch, line, found):
    scored = []
    monkeypatch.setattr(
        score_command.Models, 'score', lambda self, lines: scored.append(lines))
    many = '1 ||| the ||| -1\n' * 100
    stdin((many + line + '\n').encode('utf-8', 'surrogateescape') + many.encode())
    out, err = score(folder, '--nbest', status=2)
    assert out == '' and 'standard input:101: expected' in err and found in err
    assert err.endswith('; no line was scored\n') and not scored


def test_weights_that_give_nan(folder, stdin, score):
    model = rnnlm.load(folder).model
    model.output.W.array[1] = math.nan
    rnnlm.save_npz(os.path.join(folder, 'model.npz'), model)
    stdin('the cat\n')
    out, err = score(folder, status=2)
    assert out == '' and 'finite weights' in err


# --- options ---

@pytest.mark.parametrize('args, message', [
    (['--unk'], '--unk can only be used with --srilm'),
    (['--lm-weight', '2'], '--lm-weight can only be used with --nbest'),
    (['--word-penalty', '2'], '--word-penalty can only be used with --nbest'),
    (['--weight', '.5'], '--weight can only be used with --mix'),
    (['--nbest', '--total'], '--total cannot be combined with --nbest'),
    (['--nbest', '--lm-weight', 'nan'], '--lm-weight: expected a finite number'),
    (['--nbest', '--word-penalty', 'inf'], '--word-penalty: expected a finite number'),
    (['--mix', 'x', '--weight', '1'], '--weight: expected a number between 0 and 1'),
    (['--device', 'tpu'], '--device: expected -1 or cpu'),
])
def test_options_that_do_not_fit(folder, score, args, message):
    err = score(folder, *args, status=2).err
    assert err.startswith(f'rnnlm score: error: {message}') and err.count('\n') == 1


def test_a_text_in_the_place_of_the_model(tmp_path, score):
    (tmp_path / 'sentences.txt').write_text('the cat\n')
    err = score(tmp_path / 'sentences.txt', status=2).err
    assert 'expected a model' in err
    assert f'rnnlm score result {tmp_path / "sentences.txt"}' in err
    (tmp_path / 'my text').write_text('the cat\n')
    err = score(tmp_path / 'my text', status=2).err
    assert f"rnnlm score result '{tmp_path / 'my text'}'" in err


def test_a_vocabulary_without_ends(tmp_path, score):
    folder = write_run(tmp_path / 'run', ('x', 'y'))
    assert '<eos>' in score(folder, status=2).err


def test_recipes_for_kaldi_and_espnet(folder, tmp_path):
    """The lines of shell in docs/scoring.md."""
    if os.name != 'posix':
        pytest.skip('needs a POSIX shell')
    with open(os.path.join(ROOT, 'docs', 'scoring.md'), encoding='utf-8') as f:
        blocks = [block for block in re.findall(r'```sh\n(.*?)```', f.read(), re.S)
                  if 'awk' in block]
    for name in 'text', 'nbest.txt':
        (tmp_path / name).write_text('utt1-1 the cat\nutt1-2 the dog sleeps\n')
    (tmp_path / 'score').write_text('utt1-1 -3.5\nutt1-2 -2\n')
    (tmp_path / 'rnnlm').write_text(f'#!/bin/sh\n{sys.executable} -m rnnlm "$@"\n')
    (tmp_path / 'rnnlm').chmod(0o755)
    os.rename(folder, tmp_path / 'result')
    environment = dict(os.environ, PYTHONPATH=ROOT,
                       PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    kaldi, espnet = (subprocess.run(
        block, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True,
        env=environment).stdout.splitlines() for block in blocks)
    costs = [-log10_probs(tmp_path / 'result', ids).sum() * math.log(10)
             for ids in ([1, 2], [1, 3, 4])]
    found = [line.split() for line in kaldi]
    assert [name for name, _ in found] == ['utt1-1', 'utt1-2']
    numpy.testing.assert_allclose([float(cost) for _, cost in found], costs, atol=1e-3)
    totals = sorted((-3.5 - costs[0], -2 - costs[1]), reverse=True)
    found = [line.split(' ||| ') for line in espnet]
    assert [name for name, _, _ in found] == ['utt1', 'utt1']
    numpy.testing.assert_allclose(
        [float(total) for _, _, total in found], totals, atol=1e-3)
