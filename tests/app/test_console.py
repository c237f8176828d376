"""What a training run prints: lines, and below them a progress bar."""
import os
import re
import struct
import sys
import threading

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, console
from rnnlm.app.console import Console, ProgressBar, say


class Trainer:
    """A trainer of 4 epochs of 31 windows."""
    observation = {'main/loss': chainer.Variable(numpy.array(numpy.log(50.0)))}

    class updater:
        epoch_detail = 0.0


def run(windows):
    """Trains, with a line of PrintReport after each window."""
    bar, console = ProgressBar(4, 3100, interval=0), Console()
    Trainer.updater.epoch_detail = 0.0
    bar.initialize(Trainer)
    for window in range(1, windows + 1):
        Trainer.updater.epoch_detail = window / 31
        bar(Trainer)
        for piece in '\033[J', f'{window:<10} ', 'a report', '\n':
            console.write(piece)
    bar.finalize()


def terminal(work, columns):
    """What ``work()`` writes to a terminal of that many columns, as text."""
    pty, fcntl, termios = map(pytest.importorskip, ('pty', 'fcntl', 'termios'))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    found = []

    def read():
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux, of one that was closed
                return
            if not part:
                return
            found.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, 'w', encoding='utf-8') as stream:
        before, sys.stdout = sys.stdout, stream
        try:
            work()
        finally:
            sys.stdout = before
    reader.join()
    os.close(ours)
    return b''.join(found).decode()


def screen(text, columns):
    """The lines that a terminal shows; none may be longer than it is wide."""
    assert '\033' not in text
    lines = []
    for line in text.split('\n'):
        cells = []
        for part in line.split('\r'):
            assert len(part) <= columns, part
            cells[:len(part)] = part
        lines.append(''.join(cells).rstrip())
    return lines


@pytest.mark.parametrize('columns', [20, 40, 100])
def test_lines_stay_and_the_bar_goes(columns):
    text = terminal(lambda: run(40), columns)
    assert screen(text, columns) == [
        f'{window:<10} a report'[:columns] for window in range(1, 41)] + ['']
    assert 'epoch 1.00/4, perp' in text
    if columns == 100:
        assert 'epoch 1.00/4, perplexity 50 |' in text
        assert 'words/s, ' in text and ' left' in text


@pytest.mark.parametrize('columns', range(20, 100, 3))
def test_no_part_of_the_progress_is_cut(columns):
    for line in re.split('[\r\n]', terminal(lambda: run(40), columns)):
        if columns >= 46 and line.startswith('epoch'):
            assert line.rstrip().endswith(' left'), line
        elif columns >= 30 and line.startswith('epoch'):
            assert re.fullmatch(r'epoch \d\.\d\d/4(, perplexity \d+)?', line.rstrip())


def test_the_bar_does_not_pass_its_end():
    text = terminal(lambda: run(126), 100)
    assert 'epoch 4.06/4' in text and '?' not in text.split('epoch 3.9')[1]


def test_a_line_of_a_run_and_the_bar():
    def work():
        bar = ProgressBar(4, 3100, interval=0)
        bar.initialize(Trainer)
        say('rollback')
        bar.finalize()

    assert screen(terminal(work, 60), 60) == ['rollback', '']


@pytest.mark.parametrize('error', [
    BrokenPipeError(), OSError(28, 'No space left on device'), ValueError('closed')])
def test_output_that_fails(monkeypatch, error):
    class Stream:
        encoding = 'utf-8'

        def write(self, text):
            raise error

        def flush(self):
            raise error

    monkeypatch.setattr(sys, 'stdout', Stream())
    run(3)
    say('a line')
    Console().flush()


def test_no_bar_without_a_terminal(tmp_path, capsys):
    (tmp_path / 'text').write_text('the cat sees the dog\n' * 60)
    assert cli.main(['train', '--corpus', str(tmp_path / 'text'), '-u', '4', '-b', '4',
                     '-l', '5', '-e', '1', '--out', str(tmp_path / 'out')]) == 0
    out, err = capsys.readouterr()
    assert '\r' not in out and '\033' not in out and err == ''


@pytest.mark.parametrize('batch_size, epochs, says', [
    (4, 1, '1 epoch of 20 windows'), (81, 2, '2 epochs of 1 window '),
    (200, 1, '1 epoch of 0.41 windows')])
def test_counts_of_a_run_are_true(tmp_path, capsys, batch_size, epochs, says):
    # 406 words to train on.
    (tmp_path / 'text').write_text('the cat sees the dog\n' * 75)
    recipe = rnnlm.Recipe(
        n_units=2, batch_size=batch_size, bprop_len=5, epochs=epochs)
    rnnlm.train(rnnlm.load_corpus(str(tmp_path / 'text')), recipe,
                out=str(tmp_path / 'out'))
    assert says in capsys.readouterr().out


@pytest.mark.parametrize('tokens, shown', [
    ('word', ''), ('char', ' per character, 3.000 bits'),
    ('byte', ' per byte, 3.000 bits')])
def test_bits_are_those_of_a_token(tokens, shown):
    assert console.bits(8.0, tokens) == shown
