"""The plot of a training curve."""
import sys

from helpers import extend, make_trainer, small, text
import pytest

from rnnlm.training import plotting


def test_picture_of_a_run(tmp_path):
    pytest.importorskip('matplotlib')
    assert plotting.available()
    trainer = extend(make_trainer(small(), text(), tmp_path))
    trainer.extend(plotting.PerplexityPlot(limit=7.5), trigger=(5, 'iteration'))
    trainer.run()
    data = (tmp_path / 'perplexity.png').read_bytes()
    assert data.startswith(b'\x89PNG') and len(data) > 5000
    assert sorted(p.name for p in tmp_path.iterdir()) == ['log', 'perplexity.png']


def test_picture_of_an_empty_log(tmp_path):
    pytest.importorskip('matplotlib')
    plotting.draw([], 10, str(tmp_path / 'p.png'))
    assert (tmp_path / 'p.png').exists()


def test_without_matplotlib(monkeypatch):
    for name in 'matplotlib', 'matplotlib.figure':
        monkeypatch.setitem(sys.modules, name, None)
    assert not plotting.available()


def test_it_says_what_the_tokens_are_and_how_many_are_unknown(tmp_path, monkeypatch):
    pytest.importorskip('matplotlib')
    import matplotlib.figure
    seen = []
    save = matplotlib.figure.Figure.savefig

    def savefig(figure, *args, **kwargs):
        seen.extend((axes.get_ylabel(), axes.get_title()) for axes in figure.axes)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', savefig)
    log = [{'iteration': k, 'perplexity': 9 - k} for k in range(1, 4)]
    plotting.draw(log, 10, str(tmp_path / 'p.png'))
    plotting.draw(log, 10, str(tmp_path / 'p.png'), unit='character', unknown=0.0625)
    assert seen == [('perplexity per word', ''), (
        'perplexity per character', '6.25% of the validation text is <unk>')]
