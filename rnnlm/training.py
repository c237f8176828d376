"""Training: truncated backpropagation through time, evaluation, learning rate."""
import contextlib
import functools
import logging

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import reporter as reporter_module
from chainer import training
from chainer.dataset import convert
from chainer.training import extensions
import numpy

from rnnlm import finite, functions, graphs, optimizing, resumption
from rnnlm.errors import require, require_count
from rnnlm.model import RNNForLM, language_model
from rnnlm.parallel import ALONE

logger = logging.getLogger(__name__)

# Steps times streams of one chunk of evaluation: enough for the matrix products
# to run at full speed, few enough to fit any machine.
EVALUATION_CHUNK = 1000


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
        group (rnnlm.parallel.Alone): Processes that train the model together, each on
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
                 per_step=False, check_finite=True, group=ALONE):
        require_count('bprop_len', bprop_len)
        super().__init__(train_iter, optimizer, device=device)
        self.bprop_len = bprop_len
        self.per_step = per_step
        self._check = finite.FiniteCheck() if check_finite else None
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
        in_blocks = not (reason or optimizing.why_not_blocks(optimizer))
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
            optimizing.update(optimizer, self._rows, check)
            return
        if check is not None:
            # Scaled gradients may overflow: Chainer then leaves the update out.
            check(finite.gradient_norm(target) if scale is None else 0.0)
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
                self._graph = graphs.WindowGraph(model, optimizer, T, B, refuse)
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

        See `rnnlm.resumption` for what is saved beside what Chainer saves.
        """
        super().serialize(serializer)
        resumption.serialize(serializer, self)


def _report_scope(observation):
    """Collects what is reported; outside of a trainer nobody listens."""
    try:
        return chainer.get_current_reporter().scope(observation)
    except IndexError:
        return contextlib.nullcontext()


def why_not_windows(target, iterator=None, converter=convert.concat_examples):
    """Why windows of `target` cannot be computed as a whole; '' if they can."""
    if iterator is not None and not hasattr(iterator, 'next_window'):
        return 'the iterator has no next_window'
    if converter is not convert.concat_examples:
        return 'the converter is not concat_examples'
    model = language_model(target)
    if type(target) is not L.Classifier or model is None:
        return 'the target is not a Classifier of an RNNForLM'
    for name in '__call__', 'forward', 'loss':
        if (getattr(type(model), name) is not getattr(RNNForLM, name)
                or name in vars(model)):
            return f'the model has a {name} of its own'
    if target.lossfun is not F.softmax_cross_entropy:
        return 'the loss is not softmax_cross_entropy'
    if target.compute_accuracy and target.accfun is not F.accuracy:
        return 'the accuracy is not F.accuracy'
    if target.label_key != -1:
        return 'the label key is not -1'
    if target.local_link_hooks or model.local_link_hooks:
        return 'a link hook wants to see every call'
    return ''


NO_GPU = 'there is no GPU'


def why_no_graph(target, optimizer):
    """Why a target that goes in windows is not updated by a `WindowGraph`; or ''."""
    if target.xp is numpy:
        return NO_GPU
    return graphs.why_not(target, target.predictor, optimizer)


class PerplexityEvaluator(extensions.Evaluator):
    """Evaluator that walks a text in windows and carries the recurrent state.

    Reports '.../main/loss', the mean of -log p(word) over the text, the number
    that :class:`chainer.training.extensions.Evaluator` finds word by word; the
    perplexity is its exponential.  The model's own state is put aside and comes
    back afterwards, so that it may be the one in training.

    Args:
        iterator: `ParallelSequentialIterator` with ``repeat=False``.
        target: :class:`chainer.links.Classifier` on an `RNNForLM`; any other
            target is evaluated as Chainer's Evaluator does.
        group (rnnlm.parallel.Alone): Processes that evaluate it together, if there are
            as many streams; else the first one does, and tells the others.
        kwargs: As for Chainer's Evaluator.
    """

    def __init__(self, iterator, target, *args, group=ALONE, **kwargs):
        super().__init__(iterator, target, *args, **kwargs)
        self.group = group

    def evaluate(self):
        streams = getattr(self._iterators['main'], 'batch_size', 1)
        if self._why_not_windows() or streams < self.group.size:
            return self.group.first(lambda: self._evaluate(slice(None)))
        return self._evaluate(self.group.rows(streams))

    def _why_not_windows(self):
        target = self._targets['main']
        if self.eval_func or self._progress_bar or getattr(
                target, 'compute_accuracy', False):
            return 'more than the loss is wanted'
        return why_not_windows(target, self._iterators['main'], self.converter)

    def _evaluate(self, rows):
        target = self._targets['main']
        model = language_model(target)
        if model is None:
            return super().evaluate()
        state = model.get_state()
        model.reset_state()
        try:
            if self._why_not_windows():
                return super().evaluate()
            return self._evaluate_windows(target, model, rows)
        finally:
            model.set_state(state)

    def _evaluate_windows(self, target, model, rows):
        if self.eval_hook:
            self.eval_hook(self)
        iterator = self._iterators['main']
        iterator.reset()
        length = max(1, EVALUATION_CHUNK // iterator.batch_size)
        loss, steps = 0.0, 0
        with chainer.no_backprop_mode():
            while True:
                try:
                    window = iterator.next_window(length)[:, rows]
                except StopIteration:
                    break
                share = window.shape[1] / iterator.batch_size
                window = model.device.send(window)
                loss += share * float(model.loss(window[:-1], window[1:]).array)
                steps += len(window) - 1
                self.group.beat()
        if rows != slice(None):
            loss = self.group.sum(loss)
        observation = {}
        with reporter_module.report_scope(observation):
            chainer.report({'loss': loss / steps}, target)
        return observation
