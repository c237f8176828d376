"""Plot of the perplexities of a run; needs matplotlib."""
from __future__ import annotations

import math
import os
import time
from typing import Optional, Sequence

from chainer import training

from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.training import figures

# Higher perplexities, such as those of a diverged model, are not plotted.
MOST = 1e9

# Share of a run's time in which a plot may be drawn.
SHARE = 0.05

# Key in the log, label, colour and line of each curve.
CURVES = (
    ('perplexity', 'training (with dropout)', figures.ORANGE, {'linestyle': '--'}),
    ('val_perplexity', 'validation', figures.BLUE, {'linestyle': '-', 'marker': 'o'}),
    ('val_known', 'validation without <unk>', figures.SKY,
     {'linestyle': ':', 'marker': 's'}))


def available() -> bool:
    """Returns whether matplotlib can be imported."""
    # A notebook sets MPLBACKEND for the commands that its cells run.  It may name a
    # module that is not installed here, and writing a file needs no backend.
    backend = os.environ.pop('MPLBACKEND', None)
    try:
        import matplotlib.figure  # noqa: F401
    except Exception:  # missing, built for another NumPy, a matplotlibrc in Latin-1
        return False
    finally:
        if backend is not None:
            os.environ['MPLBACKEND'] = backend
    return True


class PerplexityPlot(training.Extension):
    """Trainer extension that plots training and validation perplexity.

    Like :class:`chainer.training.extensions.PlotReport`, but it plots the whole log of
    :class:`~chainer.training.extensions.LogReport` or `rnnlm.Log`, so a resumed run
    has the whole curve.  The log needs `rnnlm.add_perplexity` as postprocess.
    ``PerplexityPlot.available()`` returns whether matplotlib can be imported.

    If epochs are short, the plot is not drawn after each of them, but always at the end
    of the run.

    Args:
        limit: Perplexity of the best possible model, drawn as a line, if known.
        file_name: Name of the PNG file in the trainer's output folder.
        unit: Name of a token, such as 'word'.
        unknown: Fraction of ``<unk>`` in the validation text, for the title.

    Attributes:
        test (float): Test perplexity, to be set when it is known; `finish` then draws
            it.
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_READER - 1  # after LogReport
    available = staticmethod(available)

    def __init__(self, limit: Optional[float] = None,
                 file_name: str = 'perplexity.png', unit: str = 'word',
                 unknown: float = 0.0) -> None:
        self.limit = limit
        self.unit = unit
        self.unknown = unknown
        self.file_name = file_name
        self.test: Optional[float] = None
        self._drawn: Optional[float] = None  # the test perplexity in the file
        self._due = True  # the log has entries that are not in the file
        self._trainer: Optional[training.Trainer] = None
        self._begun = -math.inf  # when it was drawn, and how long that took
        self._took = 0.0

    def __call__(self, trainer: training.Trainer) -> None:
        self._due, self._trainer = True, trainer
        if SHARE * (time.monotonic() - self._begun) >= self._took:
            with best_effort(self.file_name):
                self.finish(trainer)

    def finalize(self) -> None:
        """Draws the plot at the end of a run that does not call `finish`."""
        if self._trainer is not None:
            with best_effort(self.file_name):
                self.finish(self._trainer)

    def finish(self, trainer: training.Trainer) -> None:
        """Draws the plot again, if the last one could not be written.

        Raises:
            OSError: If it cannot be written.
        """
        log = trainer.get_extension('LogReport').log
        if not log or not (self._due or self.test != self._drawn):
            return
        updater = trainer.updater
        windows = getattr(updater, 'windows_per_epoch', None)
        if windows is None:  # of another updater
            iterator = updater.get_iterator('main')
            windows = len(iterator.dataset) / (iterator.batch_size * updater.bprop_len)
        self._begun = time.monotonic()
        draw(log, windows, os.path.join(trainer.out, self.file_name), self.limit,
             self.unit, self.unknown, self.test)
        self._took = time.monotonic() - self._begun
        self._due, self._drawn = False, self.test


def draw(log: Sequence[dict], windows_per_epoch: float, path: str,
         limit: Optional[float] = None, unit: str = 'word',
         unknown: float = 0.0, test: Optional[float] = None) -> None:
    """Plots the perplexities of a log.

    Args:
        log: Entries with 'iteration', 'perplexity' and perhaps 'val_perplexity'.
        windows_per_epoch: Iterations in an epoch.
        path: PNG file to write.
        limit: Perplexity drawn as a line, if given.
        unit, unknown: As in `PerplexityPlot`.
        test: Test perplexity of the model with the best validation, if it is known.
    """
    with figures.new_figure(height=4.2) as figure:
        axes = figure.add_subplot()
        for key, label, colour, style in CURVES:
            points = [(entry['iteration'] / windows_per_epoch, entry[key])
                      for entry in log if entry.get(key, MOST) < MOST]
            if points:  # a single point has no line
                marker = 'o' if len(points) == 1 else None
                axes.plot(*zip(*points), color=colour, label=label,
                          **{**style, 'marker': style.get('marker', marker)})
        best = min((entry for entry in log if entry.get('val_perplexity', MOST) < MOST),
                   key=lambda entry: entry['val_perplexity'], default=None)
        if test is not None and best is not None and test < MOST:
            axes.plot(best['iteration'] / windows_per_epoch, test, '*',
                      color=figures.INK, markersize=12, markeredgewidth=0,
                      zorder=3, linestyle='none',
                      label=f'test ({test:.2f}), best model')
        if limit is not None:
            axes.axhline(limit, color=figures.GREY, linestyle=(0, (1, 1)),
                         label=f'lowest possible ({limit:.2f})')
        if axes.lines:
            figures.log_axis(axes, 'y')
            axes.legend()
        axes.set_xlim(left=0)
        axes.set_xlabel('epochs')
        axes.set_ylabel(f'perplexity per {unit} (log scale)')
        if unknown or test is not None:
            axes.set_title(f'{100 * unknown:.3g}% of the validation text is <unk>',
                           fontsize='medium', fontweight='normal')
        data = figures.png(figure)
    with writing(path, follow=False) as f:
        f.write(data)
