"""`BPTTUpdater`: truncated backpropagation through time."""
import contextlib
import functools
import logging

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import reporter as reporter_module
from chainer import training
import numpy

from rnnlm import functions
from rnnlm.errors import require, require_count
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.training import cuda_graph, nan_check, sgd, state
from rnnlm.training.windows import why_not_windows

logger = logging.getLogger(__name__)


class BPTTUpdater(training.updaters.StandardUpdater):
    """Updater of truncated backpropagation through time.

    Each update reads a window of `bprop_len` steps, takes the sum over the steps
    of the mean loss over the batch, goes back through the window, and cuts the
    graph there; the recurrent state is carried on.

    A window goes through `RNNForLM.loss` as a whole if the target is a
    :class:`chainer.links.Classifier` on an `RNNForLM` and the iterator gives whole
    windows.  Any other target is called step by step, as in Chainer's
    examples/ptb.  `why_per_step` says which, and it is logged.

    The reported values, 'main/loss' among them, are means over the window.

    Args:
        train_iter: `ParallelSequentialIterator`, or any iterator whose batches
            are lists of (word, next word).
        optimizer: A Chainer optimizer, set up with its target.
        bprop_len (int): Steps T of a window, at least 1.
        device: Device of the input arrays, as for
            :class:`chainer.training.updaters.StandardUpdater`.
        per_step (bool): If true, always goes step by step.
        check_finite (bool): If true, a loss or a gradient that is NaN or infinite ends
            the run, before the parameters change on NumPy and one window later on a
            GPU.
        group (rnnlm.parallel.Group): Processes that train the model together, each on
            the `group.rows` of the iterator's streams.

    Attributes:
        resumed_from (int): Number of processes that wrote the snapshot it goes on from.

    Raises:
        rnnlm.errors.InputError: if `bprop_len` is less than 1, or the processes of the
            group cannot do it.
        rnnlm.errors.NotFinite: by `update`.

    References:
        Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line
        Training of Recurrent Network Trajectories" (1990).
    """

    def __init__(self, train_iter, optimizer, bprop_len, device=None,
                 per_step=False, check_finite=True, group=SINGLE_PROCESS):
        require_count('bprop_len', bprop_len)
        super().__init__(train_iter, optimizer, device=device)
        self.bprop_len = bprop_len
        self.per_step = per_step
        self._check = nan_check.FiniteCheck() if check_finite else None
        self._logged = None
        self._rows = functions.RowGradient()
        self._graph = None
        self.group = group
        if group.size > 1:
            require('train_iter.rows', getattr(train_iter, 'rows', None),
                    f'the streams of rank {group.rank}, group.rows(batch_size)',
                    lambda rows: rows == group.rows(train_iter.batch_size))
        self._exchange = group.exchange(optimizer.target)
        self.resumed_from = None

    @property
    def why_per_step(self):
        """str: Why the target is called step by step; '' if windows are used."""
        if self.per_step:
            return 'per_step is set'
        return why_not_windows(self.get_optimizer('main').target,
                               self.get_iterator('main'), self.converter)

    def update_core(self):
        optimizer = self.get_optimizer('main')
        target = optimizer.target
        reason = self.why_per_step
        no_graph = reason or self._why_no_graph(target, optimizer)
        self._log_way(reason, no_graph)
        if not no_graph:
            self._update_by_graph(target, optimizer)
            return
        in_blocks = not (reason or sgd.why_not_blocks(optimizer))
        loss = (self._loss_by_steps(target) if reason
                else self._loss(target, self._rows if in_blocks else None))
        target.cleargrads()
        scale = getattr(optimizer, '_loss_scale', None)
        found = self._backward(loss, scale, windows=not reason)
        loss.unchain_backward()  # here the recurrent state is cut
        check = None
        if self._check is not None:
            check = functools.partial(self._check, self, found)
        if in_blocks:
            sgd.update(optimizer, self._rows, check)
            return
        if check is not None:
            # Scaled gradients may overflow: Chainer then leaves the update out.
            check(nan_check.gradient_norm(target) if scale is None else 0.0)
        optimizer.update()

    def _why_no_graph(self, target, optimizer):
        if self._exchange is not None and target.xp is not numpy:
            return 'there are several processes'
        return why_no_graph(target, optimizer)

    def _log_way(self, reason, no_graph):
        if reason:
            way = f'step by step: {reason}'
        elif not no_graph:
            way = 'in whole windows, each a CUDA graph'
        elif no_graph == NO_GPU:
            way = 'in whole windows'
        else:
            way = f'in whole windows, without a CUDA graph: {no_graph}'
        if way != self._logged:
            logger.info('training %s', way)
            self._logged = way

    def _update_by_graph(self, target, optimizer):
        """The whole update as one launch on a GPU."""
        model, refuse = target.predictor, self._check is not None
        window = self.get_iterator('main').next_window(self.bprop_len)
        model.check_ids(window)
        T, B = len(window) - 1, window.shape[1]
        with chainer.using_device(target.device):
            if self._graph is None or not self._graph.fits(T, B, refuse):
                self._graph = None  # its memory is free for the next
                self._graph = cuda_graph.WindowGraph(model, optimizer, T, B, refuse)
            loss = self._graph.update(window)
            target.loss = chainer.Variable(model.xp.asarray(loss / T))
        chainer.report({'loss': target.loss}, target)
        if refuse:
            self._check(self, target.loss.array, self._graph.result[0])

    def _backward(self, loss, scale, windows):
        """Computes the gradients of all processes; returns their loss, an array."""
        if self._exchange is None:
            loss.backward(loss_scale=scale)
            return loss.array
        target = self.get_optimizer('main').target
        iterator = self.get_iterator('main')
        self.group.window = self.iteration + 1
        ids = None
        if windows and not target.predictor.tied:
            ids = iterator.whole[:-1]
        found = self._exchange.backward(
            target, loss, iterator.batch_size, scale, self._rows, ids)
        if isinstance(target, L.Classifier):
            mean = numpy.asarray(found / self.bprop_len, found.dtype)
            chainer.report({'loss': chainer.Variable(mean)}, target)
        return found

    def _loss(self, target, rows):
        window = self.get_iterator('main').next_window(self.bprop_len)
        window = target.predictor.device.send(window)  # (T + 1, B)
        x, t = window[:-1], window[1:]
        target.predictor.row_gradient = rows
        try:
            loss = self._report_loss(target, x, t)
        finally:
            target.predictor.row_gradient = None
        return loss

    def _report_loss(self, target, x, t):
        if target.compute_accuracy:
            y = target.predictor(x)  # (T, B, V)
            y, t = y.reshape(-1, y.shape[2]), t.ravel()
            target.loss = F.softmax_cross_entropy(y, t)
            target.accuracy = F.accuracy(y, t)
            chainer.report({'accuracy': target.accuracy}, target)
            loss = target.loss * len(x)
        else:
            loss = target.predictor.loss(x, t)
            target.loss = loss / len(x)
        chainer.report({'loss': target.loss}, target)
        return loss

    def _loss_by_steps(self, target):
        """The official loop; a step's reports would overwrite the last one's."""
        iterator = self.get_iterator('main')
        summary = reporter_module.DictSummary()
        loss = 0
        for _ in range(self.bprop_len):
            x, t = self.converter(next(iterator), self.device)
            observation = {}
            with _report_scope(observation):
                loss += target(chainer.Variable(x), chainer.Variable(t))
            summary.add(observation)
        chainer.report(summary.compute_mean())
        if isinstance(target, L.Classifier):  # a Variable, for dump_graph
            chainer.report({'loss': loss / self.bprop_len}, target)
        return loss

    def serialize(self, serializer):
        """Everything the next window depends on: resuming is exact on a CPU.

        See `rnnlm.training.state` for what is saved beside what Chainer saves.
        """
        super().serialize(serializer)
        state.serialize(serializer, self)


def _report_scope(observation):
    """Collects what is reported; outside of a trainer nobody listens."""
    try:
        return chainer.get_current_reporter().scope(observation)
    except IndexError:
        return contextlib.nullcontext()


NO_GPU = 'there is no GPU'


def why_no_graph(target, optimizer):
    """Why a target that goes in windows is not updated by a `WindowGraph`; or ''."""
    if target.xp is numpy:
        return NO_GPU
    return cuda_graph.why_not(target, target.predictor, optimizer)
