"""What single options of `rnnlm train` do."""
import json
import re

import rnnlm

import chainer
import numpy
import pytest

from rnnlm.app import cli, commands
from rnnlm.app.description import RunDescription
from rnnlm.serializers.snapshot_files import newest_snapshot
from rnnlm.training.evaluator import PerplexityEvaluator, make_classifier

STORY = 'the cat sat on the mat\nthe dog saw the red cat\n' * 10
SMALL = ['train', '--corpus', 'story', '-u', '4', '-b', '4', '-l', '5']


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'story').write_text(STORY)
    return tmp_path


def log(folder='result'):
    with open(f'{folder}/log') as f:
        return json.load(f)


@pytest.mark.parametrize('lr', [None, 0.01])
def test_adam_is_chainers(here, lr):
    rate = [] if lr is None else ['--lr', str(lr)]
    assert cli.main([*SMALL, '-e', '2', '--optimizer', 'adam', '--dropout', '0',
                     '--decay', '1', *rate]) == 0
    corpus = rnnlm.load_corpus('story')
    numpy.random.seed(0)
    model = make_classifier(rnnlm.RNNForLM(len(corpus.vocabulary), 4, dropout=0))
    optimizer = chainer.optimizers.Adam(alpha=lr or 0.001).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(corpus.train, 4), optimizer, 5)
    while updater.epoch < 2:
        updater.update()
    with numpy.load(newest_snapshot('result'), allow_pickle=True) as npz:
        for name, param in model.predictor.namedparams():
            numpy.testing.assert_array_equal(
                npz[f'updater/model:main/predictor{name}'], param.array)
    assert [entry['lr'] for entry in log()] == [pytest.approx(lr or 0.001)] * 2


def test_windows_between_two_entries_of_the_log(here, capsys):
    assert cli.main([*SMALL, '-e', '2', '--log-interval', '3']) == 0
    entries = log()
    ends = [entry['iteration'] for entry in entries if 'val_perplexity' in entry]
    assert [entry['iteration'] for entry in entries] == sorted(
        {*range(3, ends[-1] + 1, 3), *ends})
    table = re.findall(r'^\d+ +[\d.]+ ', capsys.readouterr().out, re.M)
    assert len(table) == len(entries) > 4


@pytest.fixture
def curve(monkeypatch):
    """Validation losses that are given, by epoch."""
    losses, calls = [], []

    def evaluate(self):
        calls.append(True)
        return {'validation/main/loss': losses[min(len(calls), len(losses)) - 1]}

    monkeypatch.setattr(PerplexityEvaluator, 'evaluate', evaluate)
    return losses


def test_patience(here, curve, capsys):
    curve += [3.0, 2.0, 2.5, 1.9, 1.9, 2.0, 1.0]
    assert cli.main([*SMALL, '-e', '7', '--patience', '2']) == 0
    out = capsys.readouterr().out
    assert 'stopped  after epoch 6: no lower validation perplexity for 2 epochs' in out
    assert [round(entry['validation/main/loss'], 1) for entry in log()] == curve[:6]
    # The model is that of the fourth.
    with numpy.load(newest_snapshot('result'), allow_pickle=True) as npz:
        assert npz['extensions/BestModel/loss'] == 1.9
    assert cli.main(['train', '--resume', 'result']) == 0  # nothing is left to do
    assert len(log()) == 6
    assert cli.main(['train', '--resume', 'result', '--patience', '3']) == 0
    assert len(log()) == 7


@pytest.mark.parametrize('more, rates', [
    ([], [1, 1, 1, 0.25, 0.0625]),
    (['--decay', '2', '--decay-after', '1'], [1, 0.5, 0.25, 1 / 32, 1 / 256])])
def test_decay_on_a_plateau(here, curve, more, rates):
    curve += [3.0, 2.0, 2.0, 2.1, 1.0]
    assert cli.main([*SMALL, '-e', '5', '--decay-on-plateau', '4', *more]) == 0
    assert [entry['lr'] for entry in log()] == pytest.approx(rates)
    recipe = RunDescription.load('result').recipe
    assert recipe.plateau_decay == 4 and recipe.decay == (2 if more else 1)


@pytest.mark.parametrize('flags, device', [
    (['-g', '-1'], '-1'), (['--gpu=-1'], '-1'), (['-g', '1'], '1'), (['-g'], '0'),
    (['--device', '2'], '2'), ([], '-1')])
def test_a_gpu_as_in_chainers_scripts(here, monkeypatch, flags, device):
    found = []

    def train(*args, **kwargs):
        found.append(kwargs['device'])
        return {'signal': 2, 'snapshot': 'x'}

    monkeypatch.setattr(commands.experiment, 'train', train)
    monkeypatch.setattr(commands, 'get_device', found.append)
    assert cli.main([*SMALL, *flags]) == 130
    assert found == [device, device]


def test_the_help_is_in_groups_with_numbers(capsys):
    with pytest.raises(SystemExit):
        cli.main(['train', '--help'])
    out = capsys.readouterr().out
    groups = re.findall(r'^(\S.*):$', out, re.M)
    assert groups[1:] == ['text', 'model', 'training', 'output', 'several processes',
                          'presets', 'examples']
    table = out[out.index('presets:'):out.index('examples:')]
    names, *rows = [line.split() for line in table.splitlines()[1:]
                    if 'medium' in line or line.startswith('  --')]
    train_parser = cli.make_parser()._actions[-1].choices['train']
    for flag, *values in rows:
        name, = (action.dest for action in train_parser._actions
                 if flag in action.option_strings)
        assert [float(value) for value in values] == [
            getattr(rnnlm.PRESETS[preset], name) for preset in names]
    assert len(rows) >= 12
