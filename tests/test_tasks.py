"""The examples of examples/tasks/, small, and what they say of themselves."""
import importlib
import io
import json
import os
import re
import subprocess
import sys

from chainer import functions as F
from helpers import ROOT
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm
from rnnlm import functions

TASKS = os.path.join(ROOT, 'examples', 'tasks')


@pytest.fixture
def task(monkeypatch):
    """Imports an example."""
    monkeypatch.syspath_prepend(TASKS)
    numpy.random.seed(0)
    yield importlib.import_module
    sys.modules.pop('options', None)  # examples/ptb has one too


@pytest.fixture
def book(write):
    """A text of three sentences, over and over."""
    return write('book.txt', 'The cat sat on the mat;\nwhere was the dog?\n'
                             '  In 1895 the dog sat, too.\n' * 60)


def losses(printed, pattern):
    return [float(found) for found in re.findall(pattern, printed)]


def test_shakespeare_learns(task, write, tmp_path, capsys):
    path = write('text', 'abc def ghij\n' * 400)
    task('shakespeare').main([path, '--epochs', '25', '--units', '24', '--out',
                              str(tmp_path), '--sample', '40'])
    printed = capsys.readouterr().out
    assert '4,940 characters to train on, 260 to validate with' in printed
    found = losses(printed, r'\n\d+ +[\d.]+ +([\d.]+)')
    assert len(found) == 25
    # The frequencies of the characters alone give 2.5.
    assert found[0] > 2.4 and found[-1] < 1.6
    # A sample after each epoch; the model of the best is kept, for `rnnlm generate`.
    samples = re.findall(r'\n\n([a-j \n]{30,40})\n', printed)
    assert len(samples) == len(set(samples)) == 25
    trained = rnnlm.load(tmp_path)
    assert trained.vocabulary.tokens == 'char'
    with open(tmp_path / 'log') as f:
        best = min(entry['validation/main/loss'] for entry in json.load(f))
    _, valid, _ = task('shakespeare').read(path)
    assert_allclose(numpy.log(trained.perplexity(valid)), best, rtol=1e-5)


def test_samples_do_not_change_the_training(task, write, tmp_path, capsys):
    path = write('text', 'abc def ghij\n' * 200)
    for n in '0', '50':
        task('shakespeare').main([path, '--epochs', '2', '--units', '5', '--out',
                                  str(tmp_path / n), '--sample', n])
    one, other = (rnnlm.load(tmp_path / n).model for n in ('0', '50'))
    for p, q in zip(one.params(), other.params()):
        assert_array_equal(p.array, q.array)


def test_progress_within_an_epoch(task, write, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    book = write('text', 'abc def ghij\n' * 2000)
    for name, args in (('shakespeare', [book, '--out', str(tmp_path / 'a')]),
                       ('time_machine', [book, '--out', str(tmp_path / 'b')]),
                       ('classify', ['--texts', '200', '--length', '12'])):
        shown = Terminal()
        monkeypatch.setattr(sys, 'stderr', shown)
        task(name).main([*args, '--units', '3', '--epochs', '2'])
        lines = shown.getvalue().split('\r')
        assert any('loss' in line for line in lines) and lines[-1] == '\033[K'


def test_the_run_of_another_program_stays(task, book, tmp_path):
    (tmp_path / 'run.json').write_text('{}')
    for name in 'shakespeare', 'time_machine':
        with pytest.raises(rnnlm.InputError, match='run of another program'):
            task(name).main([book, '--out', str(tmp_path)])
    assert sorted(os.listdir(tmp_path)) == ['book.txt', 'run.json']


def test_shakespeare_has_the_numbers_of_char_rnn(task):
    shakespeare = task('shakespeare')
    model = shakespeare.make_model(65)
    ids = numpy.arange(5000) % 65
    trainer = shakespeare.make_trainer(model, ids, ids, 1, 'result')
    optimizer = trainer.updater.get_optimizer('main')
    assert (optimizer.lr, optimizer.alpha) == (0.002, 0.95)
    embedding = 65 * 128
    layer = 4 * 128 * (128 + 128 + 1)
    assert model.count_params() == embedding + 2 * layer + 129 * 65
    # RMSprop's first step is a sign: lr / sqrt(1 - alpha), but where g is tiny.
    before = model.l2.lateral.W.array.copy()
    trainer.updater.update()
    steps = abs(model.l2.lateral.W.array - before)
    assert_allclose(numpy.median(steps), 0.002 / 0.05 ** 0.5, rtol=1e-2)
    grads = [p.grad for p in model.params()]
    assert max(abs(g).max() for g in grads) <= 5
    decay = trainer.get_extension('LearningRateDecay')
    decay.initialize(trainer)
    for epoch, lr in ((10, 0.002), (11, 0.002 * 0.97), (13, 0.002 * 0.97 ** 3)):
        trainer.updater.get_iterator('main').epoch = epoch - 1
        decay(trainer)
        assert_allclose(optimizer.lr, lr)


def test_time_machine_reads_letters_and_blanks(task, write):
    read = task('time_machine').read
    ids, vocabulary = read(write('a.txt', 'The Time -- 1895\n\n  Machine!\nAn' * 5))
    assert ''.join(vocabulary.decode(ids)).startswith('the timemachineanthe time')


def test_time_machine_learns(task, book, tmp_path, capsys):
    task('time_machine').main(
        [book, '--epochs', '60', '--units', '32', '--out', str(tmp_path)])
    printed = capsys.readouterr().out
    found = losses(printed, r'perplexity +([\d.]+)')
    assert len(found) == 20
    assert found[-1] < 6 < 10 < found[0]
    assert printed.split('\n')[-3].startswith('time')
    assert rnnlm.load(tmp_path).generate('the', 9, seed=0)


@pytest.mark.parametrize('scale', [1, 8])  # the gradient is shorter than 1, or longer
def test_an_update_is_the_book_s(task, scale):
    """SGD at rate 1, on the mean loss, clipped to 1: with links, step by step."""
    time_machine = task('time_machine')
    n_vocab, units = 11, 6
    model = time_machine.make_model(n_vocab, units)
    model.l2.W.array *= scale
    params = {name: p.array.copy() for name, p in model.namedparams()}
    ids = numpy.random.randint(0, n_vocab, 3000).astype('i')
    trainer = time_machine.make_trainer(model, ids, 1, 'result')
    window = trainer.updater.get_iterator('main').next_window(35)
    trainer.updater.get_iterator('main').reset()

    other = model.copy(mode='copy')
    other.per_step = True
    y = F.concat([other(x) for x in window[:-1]], axis=0)
    loss = F.softmax_cross_entropy(y, window[1:].ravel())  # the mean over T and B
    other.cleargrads()
    loss.backward()
    grads = {name: p.grad for name, p in other.namedparams() if name != '/embed/W'}
    norm = numpy.sqrt(sum((g ** 2).sum() for g in grads.values()))
    assert (norm > 1) == (scale > 1)

    trainer.updater.update()
    for name, p in model.namedparams():
        wanted = params[name]
        if name in grads:
            wanted = wanted - grads[name] * min(1, 1 / norm)
        assert_allclose(p.array, wanted, rtol=1e-4, atol=1e-6)
    assert_array_equal(model.embed.W.array, numpy.eye(n_vocab))


def test_toy_converges(task):
    toy = task('toy')
    numpy.random.seed(1)  # with others the descent overshoots on its way
    found, outputs = toy.train()
    assert found[0] > 0.3 and found[-1] < 1e-5
    assert_allclose(outputs, [-0.5, 0.2, 0.1, -0.5], atol=5e-3)


def test_the_best_accuracy_is_what_is_said(task):
    """The majority rule on many texts."""
    texts = task('texts')
    ids, classes = texts.make_up(4000, 40, 60)
    good = (ids == texts.GOOD).sum(axis=1)
    assert_array_equal(good + (ids == texts.BAD).sum(axis=1), 9)
    right = numpy.mean((good > 4) == classes)
    assert abs(right - texts.BEST) < 0.02
    assert abs(texts.BEST - 0.901) < 0.001
    lengths = (ids != texts.PAD).sum(axis=1)
    assert lengths.min() == 9 and lengths.max() == 40
    assert (ids[:, -1] != texts.PAD).all()  # the padding is in front


@pytest.mark.parametrize('masked', [False, True])
def test_classes_are_learned(task, masked):
    classify, texts = task('classify'), task('texts')
    data, held_out = (texts.make_up(n, 25, 40) for n in (1500, 1000))
    found = classify.train(
        classify.TextClassifier(40, 16, masked), data, held_out, 4)
    # The last of the nine words alone gives 70%.
    assert 0.83 < found[-1] < texts.BEST + 0.03


def test_masked_is_independent_of_the_padding(task):
    classify, texts = task('classify'), task('texts')
    short, _ = texts.make_up(7, 20, 30)
    long = numpy.pad(short, [(0, 0), (50, 0)])
    plain, masked = (classify.TextClassifier(30, 5, m) for m in (False, True))

    def results(model, ids):
        model.cleargrads()
        y = model(ids)
        F.sum(y * y).backward()
        return [y.array] + [p.grad for p in model.params()]

    for a, b in zip(results(masked, short), results(masked, long)):
        assert_array_equal(a, b)
    assert abs(plain(short).array - plain(long).array).max() > 1e-5
    # Each text alone, without padding, and each text step by step with Chainer's
    # links, whose state stands still in the padding.
    for text, logit in zip(long, masked(long).array):
        alone = text[text != texts.PAD][None]
        assert_allclose(plain_as(masked, plain, alone), logit, rtol=1e-4, atol=1e-6)
        masked.lstm.reset_state()
        h = None
        for word in text:
            if word != texts.PAD:
                h = masked.lstm(masked.embed(numpy.array([word])))
        assert_allclose(masked.out(h).array.item(), logit, rtol=1e-4, atol=1e-6)


def plain_as(model, plain, ids):
    plain.copyparams(model)
    return plain(ids).array.item()


def test_a_text_of_padding_alone(task):
    classify = task('classify')
    model = classify.TextClassifier(30, 5, masked=True)
    ids = numpy.zeros((2, 8), 'i')
    ids[1, -3:] = 4, 5, 6
    hs, _, _ = functions.lstm_window(
        model.embed(numpy.zeros((1, 1), 'i')), None, None, model.lstm.upward.W,
        model.lstm.upward.b, model.lstm.lateral.W)
    assert_allclose(model(ids).array[0], model.out(hs[0]).array.item(), rtol=1e-5)


def test_reviews(task, write, tmp_path, capsys):
    texts, classify = task('texts'), task('classify')
    for part in 'train', 'test':
        for kind, word in (('neg', 'dull'), ('pos', 'great')):
            for k in range(20):
                write(f'films/{part}/{kind}/{k}.txt',
                      f"It's a {word} film, number {k}.")
    folder = str(tmp_path / 'films')
    (ids, classes), _ = texts.read_imdb(folder, 6, 6)
    assert ids.shape == (40, 6) and classes.sum() == 20
    # 2 to 5 are the four most frequent words, 1 the others, 0 the padding.
    assert_array_equal(ids[0], [0, 2, 3, 1, 4, 5])
    classify.main(['--imdb', folder, '--length', '12', '--units', '8', '--epochs',
                   '20', '--masked'])
    assert losses(capsys.readouterr().out, r'accuracy ([\d.]+)')[-1] == 100


@pytest.mark.parametrize('name, args, message', [
    ('shakespeare', ['gone.txt'], 'gone.txt'),
    ('shakespeare', ['short.txt'], 'at least 1000 characters'),
    ('shakespeare', ['short.txt', '--epochs', '0'], '--epochs'),
    ('time_machine', ['short.txt'], 'letters and blanks'),
    ('toy', ['--iterations', '0'], 'iterations'),
    ('classify', ['--length', '3'], '--length'),
    ('classify', ['--imdb', '.'], 'aclImdb'),
])
def test_bad_input_ends_with_one_line(tmp_path, name, args, message):
    (tmp_path / 'short.txt').write_text('a few words')
    result = subprocess.run(
        [sys.executable, '-W', 'error', os.path.join(TASKS, f'{name}.py'), *args],
        cwd=tmp_path, env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True,
        text=True, timeout=60)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1
    assert message in result.stderr and 'expected' in result.stderr


def test_scripts_run(tmp_path, book):
    for name, *args in (('toy',), ('classify', '--texts', '20', '--length', '12',
                                   '--units', '3', '--epochs', '1'),
                        ('time_machine', book, '--units', '3', '--epochs', '1'),
                        ('shakespeare', book, '--units', '3', '--epochs', '1')):
        result = subprocess.run(
            [sys.executable, '-W', 'error', os.path.join(TASKS, f'{name}.py'), *args],
            cwd=tmp_path, env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True,
            text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        assert result.stderr == '' and result.stdout.count('\n') > 1
    assert set(os.listdir(tmp_path)) == {
        'book.txt', 'result_shakespeare', 'result_time_machine'}
