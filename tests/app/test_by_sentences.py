"""`rnnlm train --sentences`, and what the other commands make of such a model."""
import dataclasses
import json
import os

from helpers import TINY, make_model
import numpy
from numpy.testing import assert_array_equal
import pytest

import rnnlm
from rnnlm.app import cli, experiment, reading
from rnnlm.data.corpus import Corpus
from rnnlm.inference import generate
from rnnlm.training.run import run as run_trainer

SMALL = '--unit 8 --layer 1 --batchsize 4 --bproplen 5'.split()
BY_SENTENCES = dataclasses.replace(TINY, sentences=True, bprop_len=3, epochs=2)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in the test's folder; what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').mkdir()
    for part, n in ('train', 40), ('valid', 9), ('test', 8):
        rare = ''.join(f'a word{k} {part}\nthe cat {part}\n' for k in range(n // 4))
        (tmp_path / 'text' / f'{part}.txt').write_text(
            'the cat sat on the mat .\n\nthe dog saw the cat\n' * n + rare)

    def run(*args, status=0):
        capsys.readouterr()
        found = cli.main(list(args))
        out, err = capsys.readouterr()
        assert found == status, out + err
        return out if not status else err
    return run


def numbers(found):
    return {name: value for name, value in found.items() if isinstance(value, float)}


@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_all_commands_agree(run, tokens):
    out = run('train', '--corpus', 'text', '--tokens', tokens, '--sentences', *SMALL,
              '--epoch', '2')
    assert '4 sentences, at most 5 ' in out and 'the state is reset' in out
    with open('result/run.json') as f:
        assert json.load(f)['recipe']['sentences'] is True
    with open('result/result.json') as f:
        result = json.load(f)
    for part in 'valid', 'test':
        found = json.loads(run('evaluate', '--part', part, '--json'))
        assert numbers(found) == pytest.approx(numbers(result[part]), rel=1e-5)
        assert found['sentences'] and found.keys() == result[part].keys()
        line = next(line for line in out.split('\n') if line.startswith(f'{part} '))
        assert ', state reset before each sentence' in line
        assert found == json.loads(
            run('evaluate', '--part', part, '--sentences', '--json'))
        score = json.loads(run('score', '--total', '--json', 'result',
                               f'text/{part}.txt'))
        assert score['perplexity'] == pytest.approx(found['perplexity'], rel=1e-5)
        assert score['perplexity without oov'] == pytest.approx(
            found['perplexity without unknown'], rel=1e-5)
        assert score['oov'] / (score['words'] + score['sentences']) == pytest.approx(
            found['unknown'])
        with open(f'text/{part}.txt') as f:
            given = f.read()
        # Empty lines are sentences of a part, but not of another text.
        assert rnnlm.load('result').perplexity(given) == pytest.approx(json.loads(
            run('evaluate', '--text', f'text/{part}.txt', '--json'))['perplexity'])
    ids = rnnlm.load_corpus('text', tokens=tokens).test
    assert rnnlm.load('result').perplexity(ids) == pytest.approx(
        found['perplexity'], rel=1e-6)
    printed = run('evaluate')
    assert ', state reset before each sentence' in printed
    assert f'{result["test"]["perplexity"]:.3f}' in printed


@pytest.mark.parametrize('text', ['a <unk> cat\nthe <unk>\n', 'a new cat\nthe one\n'])
def test_unknown_words_count_in_score_as_in_evaluate(run, text):
    """Those that are <unk> in the text already do too, as in PTB."""
    with open('with_unk.txt', 'w') as f:
        f.write('a <unk> cat\nthe <unk>\n' * 40)
    with open('other.txt', 'w') as f:
        f.write(text)
    run('train', '--corpus', 'with_unk.txt', '--sentences', '--epoch', '1', *SMALL)
    evaluated = json.loads(run('evaluate', '--text', 'other.txt', '--json'))
    scored = json.loads(run('score', '--total', '--json', 'result', 'other.txt'))
    assert scored['oov'] == 2 == round(evaluated['unknown'] * evaluated['words'])
    for name, ours in ('perplexity', 'perplexity'), (
            'perplexity without oov', 'perplexity without unknown'):
        assert scored[name] == pytest.approx(evaluated[ours])


def test_a_converted_model_does_not_say_that_it_was_trained_by_sentences(run):
    run('train', '--corpus', 'text', '--sentences', '--epoch', '1', *SMALL)
    os.makedirs('out')
    for name in 'model.npz', 'model.safetensors':
        assert 'note     the model was trained by sentences' in run(
            'convert', 'result', f'out/{name}')


def sentences_corpus():
    random = numpy.random.RandomState(2)
    parts = [numpy.where(random.rand(n) < 0.2, 0, random.randint(1, 5, n)).astype('i')
             for n in (300, 40, 50)]
    return Corpus('x', *parts, rnnlm.Vocabulary(['<eos>', 'a', 'b', 'c', 'd']))


@pytest.mark.parametrize('precision', ['float32', 'mixed16'])
@pytest.mark.filterwarnings('ignore:Non finite number')
def test_it_resumes_exactly_after_any_window(tmp_path, monkeypatch, precision):
    recipe = dataclasses.replace(BY_SENTENCES, precision=precision)
    made = []
    make = experiment.make_training_run
    monkeypatch.setattr(
        experiment, 'make_training_run',
        lambda *args, **more: made.append(make(*args, **more)) or made[-1])
    text = sentences_corpus()
    experiment.train(text, recipe, out=str(tmp_path / 'whole'), seed=4)
    whole = made[-1].trainer
    windows = whole.updater.iteration
    assert windows == recipe.epochs * whole.updater.windows_per_epoch
    for stop in 1, 2, 7, windows // 2, windows // 2 + 1, windows - 1:
        out = str(tmp_path / str(stop))
        with monkeypatch.context() as m:
            def stopped(trainer):
                trainer.stop_trigger = lambda t: t.updater.iteration >= stop
                run_trainer(trainer)
                return 15, rnnlm.training.extensions.Snapshot().write(trainer)
            m.setattr(experiment, 'run', stopped)
            assert experiment.train(text, recipe, out=out, seed=4)['signal'] == 15
        numpy.random.seed(99)
        experiment.train(text, recipe, out=out, resume=out)
        again = made[-1].trainer
        for (name, p), (_, q) in zip(*(
                t.updater.get_optimizer('main').target.namedparams()
                for t in (whole, again))):
            assert_array_equal(p.array, q.array, err_msg=f'{stop} {name}')
        logs = []
        for folder in out, str(tmp_path / 'whole'):
            with open(os.path.join(folder, 'log')) as f:
                logs.append([entry['main/loss'] for entry in json.load(f)])
        assert logs[0] == logs[1]


def test_a_run_remembers_it(run):
    run('train', '--corpus', 'text', '--sentences', *SMALL, '--epoch', '1')
    assert 'the state is reset' in run('train', '--resume', '--epoch', '2')
    run('train', '--corpus', 'text', *SMALL, '--epoch', '1', '--out', 'other')
    err = run('train', '--resume', '--out', 'other', '--epoch', '2', '--sentences',
              status=2)
    assert '--sentences: expected False' in err
    # A folder of before, and a link to the model.
    os.symlink('result/model.npz', 'link.npz')
    assert json.loads(run('evaluate', 'link.npz', '--corpus', 'text', '--json')) == (
        json.loads(run('evaluate', '--json')))


def test_what_makes_no_sense_is_refused(run):
    run('train', '--corpus', 'text', '--sentences', *SMALL, '--epoch', '1')
    err = run('evaluate', '--dynamic', 'sgd', status=2)
    assert '--dynamic: expected a model trained on running text' in err
    err = run('train', '--corpus', 'text', '--sentences', '-b', '999', '--out', 'new',
              status=2)
    assert '--batchsize: expected at least 999 sentences' in err
    assert not os.path.exists('new')


def test_other_texts_are_refused():
    ids = numpy.zeros(9, 'i')
    text = Corpus('x', ids, ids, ids, rnnlm.Vocabulary('ab'), 'char')
    with pytest.raises(rnnlm.InputError, match='sentences: .*between sentences'):
        experiment.train(text, BY_SENTENCES)
    group = type('', (), {'size': 2})
    with pytest.raises(rnnlm.InputError, match='sentences: expected one process'):
        reading.require_readable(text, BY_SENTENCES, group)


def test_two_models_are_mixed_by_sentences(run):
    run('train', '--corpus', 'text', '--sentences', *SMALL, '--epoch', '1')
    run('train', '--corpus', 'text', *SMALL, '--epoch', '1', '--out', 'other')
    for one, other in ('result', 'other'), ('other', 'result'):
        found = json.loads(run('interpolate', one, other, '--json', '--weight', '0.3'))
        for name, folder in ('first', one), ('second', other):
            assert found[name] == pytest.approx(json.loads(
                run('evaluate', folder, '--sentences', '--json'))['perplexity'])
        total = json.loads(run(
            'score', '--total', '--json', '--mix', other, '--weight', '0.3', one,
            'text/test.txt'))
        assert found['mixture'] == pytest.approx(total['perplexity'], rel=1e-5)
        assert found['mixture without unknown'] == pytest.approx(
            total['perplexity without oov'], rel=1e-5)
    assert 'state reset before each sentence' in run('interpolate', 'result', 'other')


@pytest.mark.parametrize('sample', [True, False])
def test_generated_sentences_begin_in_a_fresh_state(sample):
    model, between = make_model(seed=3, n_layers=2), 2
    model.l3.b.array[between] += 1.5
    random = numpy.random.RandomState(0)
    found = list(generate.generate(model, [between], 60, sample, random=random,
                                   fresh_after=between))
    random, expected = numpy.random.RandomState(0), []
    while len(expected) < 60:
        expected += [*generate.generate(
            model, [between], 60 - len(expected), sample, random=random,
            stop=between), between]
    assert found == expected[:60] and (not sample or found.count(between) > 5)


@pytest.mark.parametrize('width', [1, 4])
def test_so_do_those_of_a_beam(width):
    model, between = make_model(seed=3), 2
    model.l3.b.array[between] += 1
    words, log_prob = generate.beam_search(
        model, [4, between], 5, width, fresh_after=between)
    sentence, expected = [between], 0.0
    for word in words:
        expected += rnnlm.score_text(model, [*sentence, word])[-1]
        sentence = [between] if word == between else [*sentence, word]
    assert between in words and log_prob == pytest.approx(expected)


def test_a_trained_model_generates_so(run):
    run('train', '--corpus', 'text', '--sentences', *SMALL, '--epoch', '1')
    run('train', '--corpus', 'text', *SMALL, '--epoch', '1', '--out', 'other')
    trained = rnnlm.load('result')
    assert trained.fresh_after == trained.require_boundary()
    assert rnnlm.load('other').fresh_after is None
    assert run('generate', '--seed', '1').rstrip('\n') == trained.generate(
        seed=1).rstrip('\n')
    run('generate', '--beam', '3', '--length', '9')


# --- sizes of a text of one's own, and models to begin with ---

@pytest.mark.parametrize('n, length', [(1, 200), (7, 90), (25, 30), (300, 2)])
def test_the_batch_is_sized_by_the_number_of_sentences(run, n, length):
    line = ' '.join(f'w{k}' for k in range(length)) + '\n'
    os.mkdir('parts')
    for part in 'train', 'valid', 'test':
        with open(f'parts/{part}.txt', 'w') as f:
            f.write(line * n)
    run('train', '--corpus', 'parts', '--sentences', '-u', '4', '-e', '1')
    with open('result/run.json') as f:
        assert json.load(f)['recipe']['batch_size'] == min(20, n)


def test_a_model_by_sentences_is_trained_further_by_sentences(run):
    run('train', '--corpus', 'text', '--sentences', *SMALL, '-e', '1')
    run('train', '--corpus', 'text', *SMALL, '-e', '1', '--out', 'stream')
    new = 'train --corpus text -e 1 -b 4 --overwrite --out new'.split()
    for model, more, says, sentences in (
            ('result', [], 'it was trained by sentences, as this run is', True),
            ('result', ['--sentences'], 'by sentences, as this run is', True),
            ('result', ['--no-sentences'],
             'it was trained by sentences, this run is on running text', False),
            ('stream', ['--sentences'],
             'it was trained on running text, this run is by sentences', True),
            ('stream', [], 'vocabulary of 12 words is kept\n', False)):
        out = run(*new, '--init-from', model, *more)
        assert says in out, (model, more)
        with open('new/run.json') as f:
            assert json.load(f)['recipe']['sentences'] is sentences
    # A run that is repeated or resumed does as it did.
    run('train', '--config', 'new', '--init-from', 'result', '--out', 'again')
    with open('again/run.json') as f:
        assert json.load(f)['recipe']['sentences'] is False
    assert '--sentences: expected True' in run('train', '--resume', 'result',
                                               '--no-sentences', status=2)
