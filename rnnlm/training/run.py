"""Running a trainer so that a signal loses nothing."""
import contextlib
import os
import signal
import sys
import threading

from rnnlm.errors import NotFinite
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.snapshot_files import newest_snapshot, resume, snapshots_in
from rnnlm.training.extensions import Snapshot


def run(trainer, autoload=False):
    """Runs a trainer; a signal to stop lets it finish its window and be saved.

    The first SIGINT, SIGTERM, SIGHUP or (on Windows, by Ctrl-Break) SIGBREAK ends the
    run after the current window and writes ``snapshot_iter_N`` into ``trainer.out``;
    the second one stops at once.  Of a group of processes, one that a signal reaches
    stops all of them after the same window.

    Args:
        trainer: :class:`chainer.training.Trainer`.
        autoload (bool): If true, the run goes on from the newest whole snapshot in
            ``trainer.out``, if there is any.

    Returns:
        tuple: number of the signal, 0 if the training went to its end, and the
        path of the snapshot or None.

    Raises:
        OSError: if the snapshot cannot be written; the older ones are as they were.
        rnnlm.errors.NotFinite: by `rnnlm.BPTTUpdater` and `rnnlm.Snapshot`.
    """
    group = getattr(trainer.updater, 'group', SINGLE_PROCESS)
    if autoload:
        newest = group.on_root(lambda: newest_snapshot(trainer.out) if os.path.isdir(
            trainer.out) and snapshots_in(trainer.out) else None)
        if newest:
            group.on_all(lambda: resume(newest, trainer))
    if threading.current_thread() is not threading.main_thread():
        trainer.run(show_loop_exception_msg=False)
        return 0, None
    given = trainer.stop_trigger
    stop = trainer.stop_trigger = _StopTrigger(given, group)
    # What is ignored, in a script's background say, stays ignored.
    stop.before = {number: signal.getsignal(number) for number in _STOP_SIGNALS
                   if signal.getsignal(number) is not signal.SIG_IGN}
    for number in stop.before:
        signal.signal(number, stop.receive)
    try:
        trainer.run(show_loop_exception_msg=False)
        if stop.over or not stop.signal:
            return 0, None
        return stop.signal, Snapshot(n_retains=None).write(trainer)
    except NotFinite as e:
        e.signal = group.agree_on_signal(stop.received)
        raise
    finally:
        trainer.stop_trigger = given
        for number, handler in stop.before.items():
            signal.signal(number, handler)


# Of these no system has all.
_STOP_SIGNALS = [getattr(signal, name)
                 for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK')
                 if hasattr(signal, name)]


class _StopTrigger:
    """A trainer's stop trigger that also fires after a signal."""

    def __init__(self, trigger, group):
        self._trigger = trigger
        self._group = group
        self.received = 0
        self.signal = 0  # as agreed by all processes of the group
        self.over = False  # without any signal

    def receive(self, number, frame):
        self.received = number
        for other, handler in self.before.items():
            signal.signal(other, handler)
        if not self._group.is_root:
            return
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write(
                f'\n{signal.Signals(number).name}: finishing the window, then a '
                'snapshot; once more to stop at once\n')

    def __call__(self, trainer):
        self.over = self._trigger(trainer)
        self.signal = self._group.agree_on_signal(self.received)
        return self.over or bool(self.signal)

    def serialize(self, serializer):
        if hasattr(self._trigger, 'serialize'):
            self._trigger.serialize(serializer)

    def get_training_length(self):
        return self._trigger.get_training_length()
