"""The plot of a training curve."""
import sys
import types

from helpers import TINY, extend, make_trainer, small, text, tiny_corpus
import pytest

from rnnlm.app import experiment
from rnnlm.training import figures, plotting


def test_picture_of_a_run(tmp_path):
    pytest.importorskip('matplotlib')
    assert plotting.available()
    trainer = extend(make_trainer(small(), text(), tmp_path))
    trainer.extend(plotting.PerplexityPlot(limit=7.5), trigger=(5, 'iteration'))
    trainer.run()
    data = (tmp_path / 'perplexity.png').read_bytes()
    assert data.startswith(b'\x89PNG') and len(data) > 5000
    assert sorted(p.name for p in tmp_path.iterdir()) == ['log', 'perplexity.png']


@pytest.mark.parametrize('share,drawn', [(1e9, 6), (1e-9, 2)])
def test_drawing_takes_a_small_share_of_a_run(share, drawn, tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    lengths, draw = [], plotting.draw
    monkeypatch.setattr(plotting, 'SHARE', share)
    monkeypatch.setattr(plotting, 'draw', lambda log, *args: (
        lengths.append(len(log)), draw(log, *args)))
    trainer = extend(make_trainer(
        small(), text(), tmp_path, stop=(30, 'iteration')))
    trainer.extend(plotting.PerplexityPlot(), trigger=(5, 'iteration'))
    trainer.run()
    log = trainer.get_extension('LogReport').log
    assert len(lengths) == drawn and lengths[-1] == len(log)


def test_picture_of_an_empty_log(tmp_path):
    pytest.importorskip('matplotlib')
    plotting.draw([], 10, str(tmp_path / 'p.png'))
    assert (tmp_path / 'p.png').exists()


def test_without_matplotlib(monkeypatch):
    for name in 'matplotlib', 'matplotlib.figure':
        monkeypatch.setitem(sys.modules, name, None)
    assert not plotting.available()


def test_without_a_matplotlib_that_can_be_imported(monkeypatch):
    """As where a matplotlibrc is not UTF-8."""
    def find_spec(name, path=None, target=None):
        if name.startswith('matplotlib'):
            raise UnicodeDecodeError('utf-8', b'\xe9', 0, 1, 'unexpected end of data')

    for name in [name for name in sys.modules if name.split('.')[0] == 'matplotlib']:
        monkeypatch.delitem(sys.modules, name)
    finder = types.SimpleNamespace(find_spec=find_spec)
    monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    assert not plotting.available()


def test_it_says_what_the_tokens_are_and_how_many_are_unknown(tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    seen = []
    monkeypatch.setattr(figures, 'png', lambda figure: seen.extend(
        (axes.get_ylabel(), axes.get_title('left')) for axes in figure.axes) or b'')
    log = [{'iteration': k, 'perplexity': 9 - k} for k in range(1, 4)]
    plotting.draw(log, 10, str(tmp_path / 'p.png'))
    plotting.draw(log, 10, str(tmp_path / 'p.png'), unit='character', unknown=0.0625)
    plotting.draw(log, 10, str(tmp_path / 'p.png'), test=5.5)
    assert seen == [
        ('perplexity per word (log scale)', ''),
        ('perplexity per character (log scale)',
         '6.25% of the validation text is <unk>'),
        ('perplexity per word (log scale)', '0% of the validation text is <unk>')]


def test_the_test_result_of_a_run_is_drawn_once_it_is_known(tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    drawn = []
    monkeypatch.setattr(plotting, 'draw', lambda *args: drawn.append(args[-1]))
    found = experiment.train(tiny_corpus(), TINY, out=str(tmp_path / 'run'), seed=0)
    assert drawn == [None] * TINY.epochs + [found['test']]


def test_a_star_at_the_best_epoch_is_the_test_result(tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    seen = []
    monkeypatch.setattr(figures, 'png', lambda figure: seen.append(
        {line.get_label(): line.get_xydata().tolist()
         for line in figure.axes[0].lines}) or b'')
    log = [{'iteration': 10 * k, 'perplexity': 9 - k, 'val_perplexity': abs(k - 2) + 5}
           for k in range(1, 4)]
    plotting.draw(log, 10, str(tmp_path / 'p.png'), test=5.5)
    plotting.draw(log[:0], 10, str(tmp_path / 'p.png'), test=5.5)
    plotting.draw(log, 10, str(tmp_path / 'p.png'), test=1e30)  # of a diverged model
    star = 'test (5.50), best model'
    assert seen[0][star] == [[2, 5.5]] and len(seen[0]) == 3
    assert star not in seen[1] and len(seen[2]) == 2


def test_the_same_log_gives_the_same_bytes_whatever_the_users_style(tmp_path):
    matplotlib = pytest.importorskip('matplotlib')
    log = [{'iteration': 10 * k, 'perplexity': 9 - k} for k in range(1, 4)]
    found = []
    for style in ({}, {'font.size': 20, 'lines.linewidth': 20, 'text.usetex': True},
                  {'savefig.bbox': 'tight', 'savefig.facecolor': 'k', 'path.sketch':
                   (1, 100, 2), 'axes.xmargin': 0.5, 'savefig.transparent': True}):
        with matplotlib.rc_context(style):
            plotting.draw(log, 10, str(tmp_path / 'p.png'))
            assert all(matplotlib.rcParams[name] == style[name] for name in style)
        found.append((tmp_path / 'p.png').read_bytes())
    assert found[0] == found[1] == found[2] and b'tEXt' not in found[0]


@pytest.mark.parametrize('low, high, expected', [
    (7, 33, [7, 8, 9, 10, 12, 15, 20, 30]), (1, 1e6, [10 ** k for k in range(7)]),
    (0.28, 47, [0.5, 1, 2, 5, 10, 20]), (1, 1e30, None), (100, 101, None),
    (100.2, 101.5, None), (117.001, 117.002, None)])
def test_ticks_of_a_logarithmic_axis_are_round_and_few(low, high, expected):
    found = figures.log_ticks(low, high)
    if expected:
        assert found == pytest.approx(expected)
    assert 2 <= len(found) <= 8 and all(low <= tick <= high for tick in found)


def test_numbers_of_an_axis():
    assert [figures.plain(value) for value in (0.5, 20.0, 3e3, 1.5e7, 2e9)] == [
        '0.5', '20', '3,000', '15 M', '2 G']
