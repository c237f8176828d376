"""Texts of one's own: vocabularies, unknown words, sizes; a model on other texts."""
import gzip
import io
import json
import os
import sys

import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app.recipes import BUDGET, PRESETS, recipe_for
from rnnlm.data import cache
from rnnlm.inference import scoring

SMALL = '--unit 8 --layer 1 --batchsize 4 --bproplen 10 --epoch 1'.split()
LINES = 'the cat sat on the mat .\nthe dog saw the cat .\n'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in the test's folder; (standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*args, status=0, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        found = cli.main(list(args))
        out, err = capsys.readouterr()
        assert found == status, out + err
        return out + err
    return run


@pytest.fixture
def story(write):
    """A text with words that occur once, in all parts."""
    rare = ''.join(f'the word{k} sat on the mat .\n' for k in range(12))
    return write('story.txt', LINES * 20 + rare + LINES * 20 + rare.replace('d', 'k'))


def trained(run, story, *args):
    return run('train', '--corpus', story, *SMALL, *args)


def described(folder='result'):
    with open(os.path.join(folder, 'run.json')) as f:
        return json.load(f)


# --- unknown words ---

def test_the_rarest_words_stand_for_unknown_ones(run, story):
    out = trained(run, story)
    corpus = rnnlm.load_corpus(story)
    assert corpus.unknown_rate('train') > 0 and 'word1' not in corpus.vocabulary
    rates = [f'{100 * corpus.unknown_rate(part):.3g}%'
             for part in ('train', 'valid', 'test')]
    assert f'unknown  {" / ".join(rates)} of the words are <unk>\n' in out
    with open('result/log') as f:
        entry = json.load(f)[0]
    assert entry['val_unknown'] == pytest.approx(corpus.unknown_rate('valid'), abs=1e-6)
    assert 'val_unknown' in out and f'with {rates[2]} unknown words; ' in out
    # The same number from the text of the same run.
    line = next(line for line in out.splitlines() if line.startswith('test '))
    assert line in run('evaluate')
    found = json.loads(run('evaluate', '--json'))
    assert found['unknown'] == pytest.approx(corpus.unknown_rate('test'))


def test_a_model_that_names_no_corpus_is_asked_for_one(run, story):
    trained(run, story)
    os.remove('result/run.json')
    assert 'error: --corpus: expected a corpus or --text, found none' in run(
        'evaluate', status=2)
    assert 'perplexity' in run('evaluate', '--text', story)


def test_a_perplexity_without_unknown_words(run, story):
    trained(run, story)
    found = json.loads(run('evaluate', '--json'))
    model, test = rnnlm.load('result'), rnnlm.load_corpus(story).test
    scores = scoring.score_text(model.model, [*test, test[0]])
    known = numpy.array([*test[1:], test[0]]) != model.vocabulary.unknown
    assert 0 < known.sum() < len(test)
    assert found['perplexity'] == pytest.approx(numpy.exp(-scores.mean()), rel=1e-5)
    assert found['perplexity without unknown'] == pytest.approx(
        numpy.exp(-scores[known].mean()), rel=1e-5)


def test_an_untrained_unk_is_said(run, story):
    out = trained(run, story, '--min-count', '1')
    assert '<unk> is not in the training part, and so never trained' in out
    assert 'or use --min-count' in out and described()['source']['min_count'] == 1
    # What is advised is not refused.
    for args in (['--vocab', 'result/vocabulary.json'],
                 ['--init-from', 'result', '--unit', '8', '--layer', '1']):
        out = trained(run, story, *args, '--out', args[0][2:])
        assert '<unk> is not in the training part, and so ' in out
        assert 'or use' not in out
        assert ('never trained' in out) == (args[0] == '--vocab')


def test_a_closed_vocabulary_says_nothing(run, write):
    out = trained(run, write('closed.txt', LINES * 20))
    assert 'unk' not in out


def test_a_run_of_before_has_its_ids(run, story):
    """run.json without min_count: the vocabulary is that of all words."""
    trained(run, story, '--min-count', '1')
    found = described()
    del found['source']['min_count'], found['source']['vocabulary']
    with open('result/run.json', 'w') as f:
        json.dump(found, f)
    assert 'resumed' in run('train', '--resume', '--epoch', '2')


# --- a model on another text ---

@pytest.mark.parametrize('form', [
    [], ['--vocab-limit', '6'], ['--tokens', 'char'], ['--min-count', '30']])
def test_any_text_by_the_vocabulary_of_the_model(run, story, write, form):
    trained(run, story, *form)
    # Its own file, and another one.
    model = rnnlm.load('result')
    for path in story, write('other.txt', LINES * 3 + 'a zebra sat on the mat .\n'):
        found = json.loads(run('evaluate', '--text', path, '--json'))
        tokens = model.vocabulary.tokens
        with open(path) as f:
            text = f.read()
        split = list(text) if tokens == 'char' else text.replace(
            '\n', ' <eos> ').split()
        unknown = sum(one not in model.vocabulary for one in split)
        assert found['unknown'] == pytest.approx(unknown / len(split))
        assert found['tokens'] == tokens
        assert found['words'] == len(split)  # there is an <unk>
    # Its own file as a corpus: the parts of the run.
    assert run('evaluate', '--corpus', story) == run('evaluate')
    assert run('evaluate', '--part', 'valid', '--corpus', story) == run(
        'evaluate', '--part', 'valid')


def test_a_vocabulary_without_unk_leaves_words_out(run, write):
    trained(run, write('closed.txt', LINES * 20))
    out = run('evaluate', '--text', write('other.txt', 'the zebra saw the cat .\n' * 2))
    assert '14.3% unknown words skipped: the vocabulary has no <unk>' in out
    same = run('evaluate', '--text', write('other.txt', 'the saw the cat .\n' * 2))
    assert out.split(',')[0] == same.strip()
    err = run('evaluate', '--text', write('other.txt', 'zebras everywhere'), status=2)
    assert 'expected at least 2 tokens of the vocabulary' in err


def test_one_option_does_not_forget_the_others(run, story):
    trained(run, story, '--vocab-limit', '6')
    os.mkdir('new')
    os.rename(story, 'new/story.txt')
    assert 'resumed' in run('train', '--resume', '--corpus', 'new/story.txt',
                            '--epoch', '2')
    assert described()['source']['vocab_limit'] == 6


def test_interpolate_on_a_text(run, story, write):
    trained(run, story, '--out', 'one')
    trained(run, story, '--out', 'two', '--seed', '1')
    text = write('other.txt', LINES + 'a zebra sat .\n')
    found = json.loads(run(
        'interpolate', 'one', 'two', '--text', text, '--weight', '0.5', '--json'))
    for key, path in (('first', 'one'), ('second', 'two')):
        alone = json.loads(run('evaluate', path, '--text', text, '--json'))
        assert found[key] == pytest.approx(alone['perplexity'], rel=1e-5)
        assert found[f'{key} without unknown'] == pytest.approx(
            alone['perplexity without unknown'], rel=1e-5)
        assert found['unknown'] == alone['unknown']
    out = run('interpolate', 'one', 'two', '--text', text, '--weight', '0.5')
    assert out.count('unknown words; ') == 3
    assert '--weight: expected a weight with --text' in run(
        'interpolate', 'one', 'two', '--text', text, status=2)


def test_sentences_each_on_their_own(run, story, write):
    trained(run, story)
    text = write('other.txt', LINES)
    found = json.loads(run('evaluate', '--text', text, '--sentences', '--json'))
    scores = rnnlm.load('result').score(LINES.splitlines())
    total = numpy.concatenate([one.token_log_probs for one in scores])
    assert found['perplexity'] == pytest.approx(numpy.exp(-total.mean()), rel=1e-5)
    out = run('evaluate', '--text', text, '--sentences')
    assert ', state reset before each sentence' in out
    assert '--sentences: cannot be combined with --dynamic' in run(
        'evaluate', '--sentences', '--dynamic', 'sgd', status=2)


def test_options_that_do_not_go_together(run, story):
    trained(run, story)
    for args, message in (
            (['--corpus', story], '--text: cannot be combined with --corpus'),
            (['--tokens', 'char'], "--tokens: expected 'word'"),
            (['--dynamic', 'rms'], "--dynamic: expected 'sgd'")):
        assert message in run('evaluate', '--text', story, *args, status=2)
    assert "--tokens: expected 'word'" in run(
        'evaluate', '--corpus', story, '--tokens', 'char', status=2)
    assert '--min-count: expected an integer of at least 1' in run(
        'train', '--corpus', story, '--min-count', '0', '--out', 'new', status=2)


# --- what the tokens are ---

def test_words_of_one_letter_are_words(run, write):
    text = write('letters.txt', 'a b c a b\nb c a\n' * 20)
    trained(run, text)
    assert rnnlm.load('result').vocabulary.tokens == 'word'
    assert run('generate', '-p', 'a b', '--greedy', '--length', '3').startswith('a b ')


def test_what_the_tokens_are_is_said_by_the_run(tmp_path):
    """A vocabulary.json of before does not say it, and one may be guessed wrong."""
    vocabulary = rnnlm.Vocabulary('abc')
    assert vocabulary.tokens == 'char'
    ids = vocabulary.encode('abcabcbca' * 10)
    corpus = rnnlm.Corpus('mine', ids, ids[:9], ids[:9], vocabulary, tokens='word')
    rnnlm.train(corpus, rnnlm.Recipe(n_units=4, batch_size=2, bprop_len=5, epochs=1),
                out=str(tmp_path / 'run'), seed=0)
    path = tmp_path / 'run' / 'vocabulary.json'
    found = json.loads(path.read_text())
    del found['tokens']
    path.write_text(json.dumps(found))
    assert rnnlm.load(tmp_path / 'run').vocabulary.tokens == 'word'


def test_characters_have_bits(run, story):
    out = trained(run, story, '--tokens', 'char')
    assert 'characters/s' in out and 'words' not in out
    with open('result/log') as f:
        assert json.load(f)[0]['characters/s'] > 0
    found = json.loads(run('evaluate', '--json'))
    assert found['bits per character'] == pytest.approx(
        numpy.log2(found['perplexity']))
    assert (f' per character, {found["bits per character"]:.3f} bits'
            in out.splitlines()[-2])
    other = 'interpolate', 'result', 'result', '--text', story, '--weight', '0.5'
    for args, count in ((other, 3), (('evaluate', '--dynamic', 'sgd'), 2)):
        lines = run(*args).splitlines()
        assert len(lines) == count
        for line in lines:
            bits = numpy.log2(float(line.split()[2]))
            assert f' per character, {bits:.3f} bits' in line
    total = run('score', '--total', 'result', story)
    assert ' per character' in total and 'word' not in total
    out = trained(run, story, '--tokens', 'char', '--sentences', '--out', 'lines')
    assert 'word' not in out


# --- forms of texts ---

def test_standard_input(run, story):
    with open(story, 'rb') as f:
        data = f.read()
    out = run('train', '--corpus', '-', *SMALL, stdin=b'\xef\xbb\xbf' + data)
    assert 'corpus   standard input: ' in out
    assert '--corpus: expected a corpus, found none, because the run' in run(
        'evaluate', status=2)
    assert run('evaluate', '--text', '-', stdin=data) == run(
        'evaluate', '--text', story)
    assert 'standard input: expected text in UTF-8' in run(
        'evaluate', '--text', '-', stdin=b'\xe9t\xe9 ' * 9, status=2)


def test_a_text_of_one_line_has_a_boundary(run, write):
    text = write('text8', LINES.replace('\n', ' ') * 30)
    trained(run, text)
    assert '<eos>' in rnnlm.load('result').vocabulary
    assert run('generate', '--length', '3').strip()
    assert rnnlm.load('result').score(['the cat'])


def test_a_vocabulary_of_another_run(run, story, write):
    trained(run, story, '--out', 'one')
    other = write('other.txt', 'a dog saw the dog .\n' * 30)
    trained(run, other, '--out', 'two', '--vocab', 'one/vocabulary.json')
    assert rnnlm.load('one').vocabulary == rnnlm.load('two').vocabulary
    assert 'mixture' in run('interpolate', 'one', 'two', '--json')
    assert 'resumed' in run('train', '--resume', '--out', 'two', '--epoch', '2')
    assert '--vocab: cannot be combined with --vocab-limit or --min-count' in run(
        'train', '--corpus', other, '--vocab', 'one/vocabulary.json',
        '--vocab-limit', '9', '--out', 'three', status=2)


# --- sizes ---

@pytest.mark.parametrize('n_words', [10, 100, 5000, 10 ** 5, 10 ** 6, 10 ** 8])
@pytest.mark.parametrize('n_vocab, tokens', [(50, 'char'), (300_000, 'word')])
def test_the_sizes_of_a_run_can_be_borne(n_words, n_vocab, tokens):
    recipe = recipe_for(n_words, min(n_vocab, n_words), tokens)
    cost = recipe.operations(min(n_vocab, n_words)) * n_words * recipe.epochs
    assert recipe.epochs == 1 or cost <= BUDGET
    assert recipe.batch_size <= n_words


def test_only_texts_of_ones_own_get_them(run, story, write):
    trained(run, story)
    recipe = described()['recipe']
    corpus = rnnlm.load_corpus(story)
    expected = recipe_for(len(corpus.train), len(corpus.vocabulary), 'word')
    assert recipe['dropout'] == expected.dropout and recipe['decay'] == expected.decay
    for part in 'train', 'valid', 'test':
        write(f'ptb/ptb.{part}.txt', LINES * 20)
    run('train', '--corpus', './ptb', '--out', 'of_ptb', *SMALL)
    assert described('of_ptb')['recipe']['dropout'] == PRESETS['chainer'].dropout


def test_a_long_run_says_how_long(run, write, monkeypatch):
    monkeypatch.setattr('rnnlm.app.console._operations_per_second', lambda: 1e4)
    assert 'about ' in trained(run, write('closed.txt', LINES * 20))


def test_the_presets_are_in_the_help(capsys):
    with pytest.raises(SystemExit):
        cli.main(['train', '--help'])
    lines = capsys.readouterr().out.split('presets:\n')[1].splitlines()
    names, *rows = (line.split() for line in lines)
    shown = {flag: dict(zip(names, values)) for flag, *values in rows[:10]}
    for name, recipe in PRESETS.items():
        assert {flag: float(values[name]) for flag, values in shown.items()} == {
            '--unit': recipe.n_units, '--layer': recipe.n_layers,
            '--dropout': recipe.dropout, '--init-scale': recipe.init_scale,
            '--batchsize': recipe.batch_size, '--bproplen': recipe.bprop_len,
            '--epoch': recipe.epochs, '--lr': recipe.lr, '--decay': recipe.decay,
            '--decay-after': recipe.decay_after}


def test_compressed_files_are_not_believed(run, story, tmp_path):
    trained(run, story)
    for data in b'no gzip', gzip.compress(b'text ' * 99)[:-9]:
        (tmp_path / 'bad.txt.gz').write_bytes(data)
        assert 'bad.txt.gz: expected a file compressed by gzip' in run(
            'evaluate', '--text', 'bad.txt.gz', status=2)


def test_several_files_are_kept_and_never_written_over(run, write):
    files = [write(name, LINES * 20) for name in ('a.txt', 'out/log')]
    assert 'log: expected a file that may be overwritten, found the text' in run(
        'train', '--corpus', *files, *SMALL, '--out', 'out', status=2)
    run('train', '--corpus', *files, *SMALL)
    assert described()['source']['corpus'] == files
    assert 'resumed' in run('train', '--resume', '--epoch', '2')
    os.unlink('a.txt')
    assert 'a.txt does not exist' in run('evaluate', status=2)


def test_a_corpus_that_is_given_twice(run, story, capsys):
    with pytest.raises(SystemExit):  # argparse would forget the first
        cli.main(['train', '--corpus', 'story', '--corpus', 'story'])
    assert '--corpus: expected once, with all values' in capsys.readouterr().err
    trained(run, story)
    run('evaluate', '--corpus', 'gone', '--corpus', story)  # takes one


# --- long texts ---

@pytest.fixture
def every_text_is_long(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, 'LEAST', 0)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'rnnlm'


def test_commands_on_mapped_texts(run, story, write, every_text_is_long):
    """What they say, and the model, are as of a text in memory."""
    other = write('other.txt', 'the dog saw a cow .\n' * 30)
    said = []
    for out, flag in ('mapped', []), ('memory', ['--no-cache']), ('again', []):
        trained(run, story, '--out', out, *flag)
        said.append([run(*command, '--json', *flag) for command in (
            ['evaluate', out], ['evaluate', out, '--text', other],
            ['evaluate', out, '--dynamic', 'rms'],
            ['evaluate', out, '--corpus', other, '--part', 'valid'],
            ['interpolate', out, out],
            ['interpolate', out, out, '--text', other, '--weight', '0.3'])])
        if out == 'memory':
            n_files = len(os.listdir(every_text_is_long))
    assert said[0] == said[1] == said[2]
    assert len(os.listdir(every_text_is_long)) == n_files
    with numpy.load('mapped/model.npz') as a, numpy.load('memory/model.npz') as b:
        for name in a.files:
            numpy.testing.assert_array_equal(a[name], b[name])
    # The hash of the text is the same, and so the run goes on.
    run('train', '--resume', 'memory', '--out', 'memory', '--epoch', '2')


def test_a_long_text_shows_its_rate_and_the_time_left(
        run, story, every_text_is_long, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    trained(run, story, '--out', 'other')  # shown on standard error
    shown = run('train', '--corpus', story, *SMALL, '--no-cache', '--overwrite')
    assert '<' in shown and 'B/s' in shown
