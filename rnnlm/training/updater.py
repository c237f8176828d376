"""`BPTTUpdater`: truncated backpropagation through time."""
import functools
import logging
from typing import Any, Callable, Optional

import chainer
from chainer import links as L
from chainer import training
from chainer.dataset import convert
from chainer.reporter import report
import numpy

from rnnlm import functions, parts
from rnnlm.chain import language_model
from rnnlm.data.iterators import ParallelSequentialIterator
from rnnlm.errors import require, require_count
from rnnlm.parallel import SINGLE_PROCESS, Group
from rnnlm.training import cuda_graph, graph_verification, nan_check, sgd, state
from rnnlm.training.steps import loss_by_steps
from rnnlm.training.windows import why_not_windows, window_loss

logger = logging.getLogger(__name__)


class BPTTUpdater(training.updaters.StandardUpdater):
    """Updater for truncated backpropagation through time.

    Each update reads a window of `bprop_len` steps and computes the sum over the steps
    of the mean loss over the batch.  It backpropagates through the window, updates the
    parameters and cuts the graph; the recurrent state is carried to the next window.

    Windows are computed by fused functions if the target is a
    :class:`chainer.links.Classifier` on an `RNNForLM` and nothing was changed that
    these functions replace.  For any other model the updater falls back to Chainer's
    step-by-step loop, and logs a warning with the reason, which is also in
    `why_per_step`.

    The reported values, such as 'main/loss', are means over the window.

    Args:
        train_iter: `ParallelSequentialIterator`, or any iterator whose batches
            are lists of (word, next word); or a dict of iterators, of which 'main' is
            used.
        optimizer: A Chainer optimizer, set up with its target; or a dict of them, of
            which 'main' is used.
        bprop_len (int): Number of steps T in a window, at least 1.
        device, converter, loss_func, loss_scale, auto_new_epoch, input_device: As in
            :class:`chainer.training.updaters.StandardUpdater`.
        per_step (bool): If true, always uses the step-by-step loop.
        loss_of_logits (bool): If true, the Classifier's lossfun is called step by step
            on logits (B, V) that were computed as a window.  It must depend only on its
            arguments (not on the state of a layer), and must not draw random numbers.
        check_finite (bool): If true, a loss or a gradient that is NaN or infinite ends
            the run: on NumPy before the parameters change, on a GPU one window later.
            Optimizer hooks that replace NaN in gradients run after the check; to use
            them, disable it.
        group (rnnlm.parallel.Group): Processes that train the model together, each on
            its `group.rows` of the iterator's streams.

    Attributes:
        resumed_from (int): Number of processes that wrote the last snapshot that was
            saved or resumed; None before.

    Raises:
        rnnlm.errors.InputError: If `bprop_len` is less than 1, or the group cannot
            train this model.
        rnnlm.errors.NotFinite: By `update`.

    References:
        Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line
        Training of Recurrent Network Trajectories" (1990).
    """

    def __init__(self, train_iter: Any, optimizer: Any, bprop_len: int,
                 device: Any = None, converter: Callable = convert.concat_examples,
                 loss_func: Optional[Callable] = None,
                 loss_scale: Optional[float] = None, auto_new_epoch: bool = True, *,
                 input_device: Any = None, per_step: bool = False,
                 loss_of_logits: bool = False, check_finite: bool = True,
                 group: Group = SINGLE_PROCESS) -> None:
        require_count('bprop_len', bprop_len)
        super().__init__(
            train_iter, optimizer, converter, device, loss_func, loss_scale,
            auto_new_epoch, input_device=input_device)
        self.bprop_len = bprop_len
        self.per_step = per_step
        self.loss_of_logits = loss_of_logits
        self._check = nan_check.FiniteCheck() if check_finite else None
        self._logged = None
        self._rows = functions.RowGradient()
        self._graph = None
        self._keeps_arrays = False  # whether other code does, from window to window
        self._is_new_epoch: Optional[bool] = None  # of the last window
        self.group = group
        train_iter, optimizer = self.get_iterator('main'), self.get_optimizer('main')
        require('optimizer', optimizer, 'one with a target; call its setup(model)',
                lambda v: v.target is not None)
        if group.size > 1:
            require('train_iter.rows', getattr(train_iter, 'rows', None),
                    f'the streams of rank {group.rank}, group.rows(batch_size)',
                    lambda rows: rows == group.rows(train_iter.batch_size))
        self._exchange = group.exchange(optimizer.target)
        self.resumed_from = None

    @property
    def why_per_step(self) -> str:
        """str: Why the step-by-step loop is used; '' if windows are used."""
        if self.per_step:
            return 'per_step is set'
        if self.loss_func is not None:
            return 'loss_func is set'
        return why_not_windows(
            self.get_optimizer('main').target, self.get_iterator('main'),
            self.converter, self.loss_of_logits)

    @property
    def is_new_epoch(self) -> bool:
        """bool: Whether an epoch ended in the last window, at any of its steps."""
        return (super().is_new_epoch if self._is_new_epoch is None
                else self._is_new_epoch)

    @property
    def windows_per_epoch(self) -> float:
        """float: How many windows an epoch takes."""
        iterator = self.get_iterator('main')
        return len(iterator.dataset) / (iterator.batch_size * self.bprop_len)

    def update_core(self) -> None:
        optimizer = self.get_optimizer('main')
        target = optimizer.target
        reason = self.why_per_step
        # Three ways: a CUDA graph, fused functions, or Chainer's step-by-step loop.
        no_graph = reason or self._why_no_graph(target, optimizer)
        iterator = self.get_iterator('main')
        epoch = getattr(iterator, 'epoch', 0)
        self._log_way(reason, no_graph)
        if not no_graph:
            self._update_by_graph(target, optimizer)
        else:
            self._update(target, optimizer, windows=not reason)
        # Compared because the epoch may end anywhere in the window.
        self._is_new_epoch = getattr(iterator, 'epoch', 0) != epoch
        # `StandardUpdater` prepares what it is given for this call.  If that is a
        # wrapper, the optimizer in it is not prepared, and would raise an error.
        if self._is_new_epoch and isinstance(optimizer, chainer.Optimizer) and (
                optimizer.use_auto_new_epoch):
            optimizer.new_epoch(auto=True)

    def _update(self, target, optimizer, windows, window=None):
        in_blocks = windows and not sgd.why_not_blocks(optimizer)
        scale = getattr(optimizer, '_loss_scale', None)
        if windows and window is None:
            window = self._next_window(target)

        def compute():
            if windows:
                # Frees the last gradients, because the forward pass computes new ones.
                target.cleargrads()
                rows = self._rows if in_blocks else None
                loss = self._window_loss(target, rows, window)
            else:
                loss = loss_by_steps(self, self.loss_func or target)
                # After the forward pass, as in Chainer's example.
                target.cleargrads()
            found = self._backward(loss, scale, windows)
            loss.unchain_backward()  # truncates: the recurrent state is cut here
            return found

        if windows and target.xp is not numpy and self._exchange is None:
            found = graph_verification.with_retry(target, compute)
        else:
            found = compute()
        check = None
        if self._check is not None:
            check = functools.partial(self._check, self, found)
        if in_blocks:
            sgd.update(optimizer, self._rows, check)
            return
        if check is not None:
            # Scaled gradients may overflow, and Chainer then skips the update.
            check(nan_check.gradient_norm(target) if scale is None else 0.0)
        optimizer.update()

    def _why_no_graph(self, target, optimizer):
        if self._exchange is not None and target.xp is not numpy:
            return 'there are several processes'
        if self._graph is not None and self._graph.is_held():
            self._keeps_arrays, self._graph = True, None
        if self._keeps_arrays:
            return 'gradients or states of the last window are kept without a copy'
        return why_no_graph(target, optimizer)

    def _log_way(self, reason, no_graph):
        if reason:
            way = f'step by step: {reason}'
        elif not no_graph:
            way = 'in windows, each a CUDA graph'
        elif no_graph == NO_GPU:
            way = 'in windows'
        else:
            way = f'in windows, without a CUDA graph: {no_graph}'
        if way != self._logged:
            # A warning for an RNNForLM, which is several times as fast in windows.
            wants_windows = language_model(self.get_optimizer('main').target)
            level = (logging.WARNING if reason and wants_windows and not self.per_step
                     else logging.INFO)
            logger.log(level, 'training %s', way)
            self._logged = way

    def _update_by_graph(self, target, optimizer):
        """Updates with one launch of a CUDA graph."""
        model, refuse = target.predictor, self._check is not None
        window = self._next_window(target)
        graph, self._graph = self._graph, None  # its memory can be reused
        with chainer.using_device(target.device):
            self._graph, loss = graph_verification.update(
                graph, target, optimizer, window, refuse)
            if self._graph is None:  # the verification failed
                self._update(target, optimizer, True, window)
                return
            mean = loss / (len(window) - 1)
            target.loss = chainer.Variable(model.xp.asarray(mean))
        report({'loss': target.loss}, target)
        if refuse:
            self._check(self, target.loss.array, self._graph.result[0])

    def _backward(self, loss, scale, windows):
        """Computes the gradients over all processes; returns the loss (an array)."""
        if self._exchange is None:
            loss.backward(loss_scale=scale)
            return loss.array
        target = self.get_optimizer('main').target
        iterator = self.get_iterator('main')
        self.group.window = self.iteration + 1
        ids, unused = None, []
        if windows:
            model = target.predictor
            if not model.tied:
                ids = iterator.whole[:-1]
            output = model._output()
            unused = parts.TABLE[type(output)].unused(
                output, model.device.send(iterator.whole[1:]))
        found = self._exchange.backward(
            target, loss, iterator.batch_size, scale, self._rows, ids, unused)
        if isinstance(target, L.Classifier):
            mean = numpy.asarray(found / self.bprop_len, found.dtype)
            report({'loss': chainer.Variable(mean)}, target)
        return found

    def _next_window(self, target):
        """Returns the next window, int (T + 1, B) on the host, with ids checked."""
        iterator = self.get_iterator('main')
        window = iterator.next_window(self.bprop_len)
        if len(window) <= self.bprop_len and isinstance(
                iterator, ParallelSequentialIterator):
            raise StopIteration  # the text ends in this window, as step by step
        target.predictor.check_ids(window)
        return window

    def _window_loss(self, target, rows, window):
        window = target.predictor.device.send(window)  # (T + 1, B)
        target.predictor.row_gradient = rows
        if rows is not None:
            rows.begin()
        try:
            return window_loss(target, window[:-1], window[1:])
        finally:
            target.predictor.row_gradient = None

    def serialize(self, serializer: Any) -> None:
        """Saves or loads all that the next window depends on; exact on a CPU.

        See `rnnlm.training.state` for what is saved in addition to Chainer's values.
        """
        super().serialize(serializer)
        state.serialize(serializer, self)
        if not isinstance(serializer, chainer.Serializer):
            self._is_new_epoch = None


NO_GPU = 'there is no GPU'


def why_no_graph(target, optimizer):
    """Returns why a target in windows cannot use a `WindowGraph`, or ''."""
    if target.xp is numpy:
        return NO_GPU
    return cuda_graph.why_not(target, target.predictor, optimizer)
