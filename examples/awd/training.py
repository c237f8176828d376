"""Training of AWD-LSTM: windows of random lengths, NT-ASGD."""
import contextlib
import hashlib
import json
import math

import rnnlm

import chainer
from chainer import training
from chainer.reporter import report
import numpy

from model import loss_of_window


def draw_length(bptt):
    """Draws the length of the next window from `numpy.random`, as awd-lstm-lm does."""
    mean = bptt if numpy.random.random() < .95 else bptt / 2
    return max(5, int(numpy.random.normal(mean, 5)))


class Updater(rnnlm.BPTTUpdater):
    """Updater for truncated BPTT over windows of random lengths.

    The learning rate of a window is proportional to its length.  Lengths are drawn from
    `numpy.random`, whose state is in the snapshots.

    Args:
        iterator: `rnnlm.ParallelSequentialIterator`.
        optimizer: `NTASGD`, set up with a Classifier of a model of `make_model`.
        bptt (int): The mean length.
        alpha, beta (float): See `loss_of_window`.
        device: As for :class:`chainer.training.updaters.StandardUpdater`.
    """

    def __init__(self, iterator, optimizer, bptt, alpha, beta, device=None):
        super().__init__(iterator, optimizer, bptt, device)
        self.alpha, self.beta = alpha, beta

    def update_core(self):
        iterator, optimizer = self.get_iterator('main'), self.get_optimizer('main')
        target, epoch = optimizer.target, iterator.epoch
        length = draw_length(self.bprop_len)
        ids = target.device.send(iterator.next_window(length))  # (T + 1, B)
        loss, entropy = loss_of_window(
            target.predictor, ids[:-1], ids[1:], self.alpha, self.beta)
        if not math.isfinite(float(loss.array)):
            raise rnnlm.NotFinite(
                f'window {self.iteration + 1}: expected a finite loss, found '
                f'{float(loss.array)}; lower --lr')
        target.cleargrads()
        loss.backward()
        loss.unchain_backward()
        rate = optimizer.lr
        optimizer.lr = rate * length / self.bprop_len
        try:
            optimizer.update()
        finally:
            optimizer.lr = rate
        report({'loss': entropy}, target)
        if iterator.epoch != epoch:
            optimizer.new_epoch(auto=True)


class NTASGD(chainer.optimizers.SGD):
    """SGD that also averages the parameters, once averaging was started.

    The average is that of torch.optim.ASGD with t0=0 and lambd=0, from the second
    window on.  It is saved with the optimizer.

    Args:
        lr (float): Learning rate.
        fine_tuning (bool): Whether averaging starts at once.

    Attributes:
        n_averaged (int): Windows since averaging started; None before.
    """

    def __init__(self, lr, fine_tuning=False):
        super().__init__(lr)
        self.n_averaged = 0 if fine_tuning else None
        self._fine_tuning = fine_tuning
        self._means = {}

    def begin_averaging(self):
        """Starts averaging, with the parameters after the next update."""
        self.n_averaged = 0

    def update(self, lossfun=None, *args, **kwargs):
        super().update(lossfun, *args, **kwargs)
        if self.n_averaged is None:
            return
        self.n_averaged += 1
        for name, param in self.target.namedparams():
            if self.n_averaged <= 2:
                self._means[name] = param.array.copy()
            else:
                mean = self._means[name]
                mean += (param.array - mean) / (self.n_averaged - 1)

    @contextlib.contextmanager
    def averaged(self):
        """Context in which the parameters are replaced by their averages, if any."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self):
        if self._means:
            for name, param in self.target.namedparams():
                param.array, self._means[name] = self._means[name], param.array

    def serialize(self, serializer):
        super().serialize(serializer)
        kinds = 'main.py', 'finetune.py'
        found = bool(serializer('fine_tuning', self._fine_tuning))
        if found != self._fine_tuning:
            raise rnnlm.InputError(
                f'--resume: expected a snapshot of {kinds[self._fine_tuning]}, found '
                f'one of {kinds[found]}')
        found = int(serializer(
            'n_averaged', -1 if self.n_averaged is None else self.n_averaged))
        self.n_averaged = None if found < 0 else found
        if found <= 0:
            self._means = {}
            return
        for name, param in self.target.namedparams():
            mean = serializer[name]('mean', self._means.get(name))
            if not isinstance(serializer, chainer.Serializer):
                self._means[name] = param.device.send(
                    numpy.array(mean, param.dtype).reshape(param.shape))


class TorchClipping:
    """Optimizer hook that clips the gradient norm as PyTorch does for two biases.

    PyTorch's LSTM has two biases, which are added.  Both have the gradient of our
    single bias, so it counts twice in the norm, and their sum moves twice as far.

    Args:
        threshold (float): Largest norm of the gradients; 0: no clipping.
    """
    name = 'TorchClipping'
    call_for_each_param = False
    timing = 'pre'

    def __init__(self, threshold):
        self.threshold = threshold

    def __call__(self, optimizer):
        grads = {name: param.grad for name, param in optimizer.target.namedparams()
                 if param.grad is not None}
        biases = [grad for name, grad in grads.items() if name.endswith('/upward/b')]
        with chainer.using_device(optimizer.target.device):
            squares = sum((grad * grad).sum(dtype='d')
                          for grad in [*grads.values(), *biases])
            factor = self.threshold / (math.sqrt(float(squares)) + 1e-6)
            if self.threshold and factor < 1:
                for grad in grads.values():
                    grad *= grad.dtype.type(factor)
            for grad in biases:
                grad *= 2


def make_optimizer(target, lr, clip, wdecay, fine_tuning=False):
    """Makes the optimizer of awd-lstm-lm: NT-ASGD, clipping, weight decay."""
    optimizer = NTASGD(lr, fine_tuning).setup(target)
    optimizer.add_hook(TorchClipping(clip))
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(wdecay))
    return optimizer


class Evaluator(rnnlm.PerplexityEvaluator):
    """Evaluator that uses averaged parameters, once averaging was started."""

    def __init__(self, iterator, optimizer):
        super().__init__(iterator, optimizer.target)
        self._optimizer = optimizer

    def evaluate(self):
        with self._optimizer.averaged():
            return super().evaluate()


class NonMonotonic(training.Extension):
    """Extension that calls a function when validation no longer improves.

    It does when the loss is above the lowest of all earlier ones except the last `n`.

    Args:
        n (int): Number of epochs.
        act: Function that is called, once.

    Attributes:
        acted (bool): Whether it was called.
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_READER  # after the evaluator

    def __init__(self, n, act=lambda: None):
        self.n, self.act = n, act
        self.acted = False
        self._losses = []

    def __call__(self, trainer):
        if self.acted:
            return
        loss = float(trainer.observation['validation/main/loss'])
        before = self._losses[:-self.n] if self.n else self._losses
        if before and loss > min(before):
            self.acted = True
            self.act()
        self._losses.append(loss)

    def serialize(self, serializer):
        self.acted = bool(serializer('acted', self.acted))
        losses = serializer('losses', json.dumps(self._losses))
        self._losses = json.loads(str(losses))


class Until:
    """Stop trigger that fires after some epochs, or when validation gets worse.

    Args:
        epochs (int): Number of epochs.
        worse: `NonMonotonic`; None: only the epochs count.
    """

    def __init__(self, epochs, worse=None):
        self.epochs, self.worse = epochs, worse

    def __call__(self, trainer):
        return trainer.updater.epoch >= self.epochs or (
            self.worse is not None and self.worse.acted)

    def get_training_length(self):
        return self.epochs, 'epoch'


class KeepBest(training.Extension):
    """Extension that saves the evaluated model if it is the best so far.

    If the file is no longer that of the snapshot which a run is resumed from, the next
    evaluated model is saved.

    Args:
        optimizer: `NTASGD`.
        path (str): File to write.
        loss (float): Only models with a lower loss are saved.
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_READER

    def __init__(self, optimizer, path, loss=math.inf):
        self._optimizer, self.path, self.loss = optimizer, path, loss
        self._digest = '' if loss == math.inf else digest(path)

    def initialize(self, trainer):
        if self.loss < math.inf and digest(self.path) != self._digest:
            print(f'{self.path}: expected the best model of the snapshot, found '
                  'another file or none; the next model that is evaluated replaces it')
            self.loss = math.inf

    def __call__(self, trainer):
        loss = float(trainer.observation['validation/main/loss'])
        if loss < self.loss:
            with self._optimizer.averaged():
                rnnlm.save_npz(self.path, self._optimizer.target.predictor)
            self.loss, self._digest = loss, digest(self.path)

    def serialize(self, serializer):
        self.loss = float(serializer('loss', self.loss))
        self._digest = str(serializer('digest', self._digest))


def digest(path):
    """Returns the SHA-256 of a file; '' if there is none."""
    try:
        with open(path, 'rb') as f:
            return hashlib.sha256(f.read()).hexdigest()
    except FileNotFoundError:
        return ''
