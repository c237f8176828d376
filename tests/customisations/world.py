"""One training run, official or ours, made in stages for customisations to act on."""
import atexit
import contextlib
import shutil
import tempfile

import rnnlm  # first: it makes Chainer importable

import chainer
from chainer import links as L
from chainer import optimizer_hooks, training
from chainer.training import extensions
import numpy

from tests.customisations import official

# Large enough for the compiled kernels, which need a vector of units or words.
V, N_UNITS, STREAMS, STEPS = 37, 24, 3, 4
SCALE = 5
WINDOWS = 6  # two epochs of the text and two words
TEXT_LENGTH, VALID_LENGTH = 35, 9
STAGES = 'classes', 'model', 'target', 'optimizer', 'trainer'

CUSTOMISATIONS = {}
device = -1  # of all runs
_OUT = tempfile.mkdtemp(prefix='customisations')
atexit.register(shutil.rmtree, _OUT, ignore_errors=True)


def on_host(x):
    """A copy of an array of any device, or of a number."""
    return numpy.array(x.get() if hasattr(x, 'dtype') and hasattr(x, 'get') else x)


class Customisation:
    """A change that a user makes: ``apply(world)`` at one of the `STAGES`."""

    def __init__(self, apply, stage):
        self.name, self.apply, self.stage = apply.__name__, apply, stage


def custom(stage):
    """Registers a function of a world as a customisation."""
    def register(function):
        assert stage in STAGES and function.__name__ not in CUSTOMISATIONS
        CUSTOMISATIONS[function.__name__] = Customisation(function, stage)
        return function
    return register


class World:
    """What a training script has at hand.

    Stage 'classes' has Model, Iterator, Updater, text, valid, classifier (keyword
    arguments), make_target, make_optimizer; 'model' has model too; then target;
    optimizer; trainer, updater, iterator, evaluator.
    """

    def __init__(self, kind, evaluator='stock'):
        self.kind = kind
        source = {'official': official, 'ours': rnnlm}[kind]
        self.Model = source.RNNForLM
        self.Iterator = source.ParallelSequentialIterator
        self.Updater = source.BPTTUpdater
        self.perplexity = kind == 'ours' and evaluator == 'perplexity'
        self.random = numpy.random.RandomState(7)  # for customisations
        self.text = self.random.randint(0, V, TEXT_LENGTH).astype('i')
        self.valid = self.random.randint(0, V, VALID_LENGTH).astype('i')
        self.bprop_len, self.streams, self.device = STEPS, STREAMS, device
        self.windows = WINDOWS
        self.classifier = {}
        self.compute_accuracy = False
        self.lr, self.clip = 1.0, 1.5  # active in every other window
        self.logged = []
        self._stack = contextlib.ExitStack()

    def make_target(self, model):
        target = L.Classifier(model, **self.classifier)
        target.compute_accuracy = self.compute_accuracy
        return target

    def make_optimizer(self):
        return chainer.optimizers.SGD(lr=self.lr)

    def build(self, customisations):
        """Makes everything; a customisation acts as soon as its stage is there."""
        make = {'classes': lambda: None, 'model': self._make_model,
                'target': self._make_target, 'optimizer': self._make_optimizer,
                'trainer': self._make_trainer}
        for stage in STAGES:
            make[stage]()
            for customisation in customisations:
                if customisation.stage == stage:
                    customisation.apply(self)
        return self

    def _make_model(self):
        self.model = self.Model(V, N_UNITS)
        for param in self.model.params():
            if param.array is not None:
                param.array *= SCALE  # larger, so that errors are, too

    def _make_target(self):
        self.target = self.make_target(self.model)
        if self.device != -1:
            self.target.to_device(self.device)

    def _make_optimizer(self):
        self.optimizer = self.make_optimizer()
        self.optimizer.setup(self.target)
        if self.clip:
            self.optimizer.add_hook(optimizer_hooks.GradientClipping(self.clip))

    def _make_trainer(self):
        self.iterator = self.Iterator(self.text, self.streams)
        self.updater = self.Updater(
            self.iterator, self.optimizer, self.bprop_len, self.device)
        self.trainer = training.Trainer(
            self.updater, (self.windows, 'iteration'), out=_OUT)
        self.valid_iterator = self.Iterator(self.valid, 1, repeat=False)
        copy = self.evaluated = self.target.copy()
        Evaluator = (rnnlm.PerplexityEvaluator if self.perplexity
                     else extensions.Evaluator)
        self.evaluator = Evaluator(
            self.valid_iterator, copy, device=self.device,
            eval_hook=lambda _: copy.predictor.reset_state())
        self.trainer.extend(self.evaluator, trigger=(3, 'iteration'))

    # For customisations

    def patch(self, owner, name, value):
        """Sets an attribute of a class or a module until the world is closed."""
        missing = object()
        before = vars(owner).get(name, missing)

        def undo():
            if before is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._stack.callback(undo)
        setattr(owner, name, value)

    def enter(self, context):
        """Enters a context that is left when the world is closed."""
        return self._stack.enter_context(context)

    def every(self, function, windows=1, **kwargs):
        """Calls ``function()`` after each, or every so many, windows."""
        name = f'{function.__name__}{len(self.trainer._extensions)}'
        self.trainer.extend(
            lambda trainer: function(), name=name, trigger=(windows, 'iteration'),
            **kwargs)

    def at(self, window, function):
        """Calls ``function()`` after one window."""
        def once():
            if self.updater.iteration == window:
                function()
        self.every(once)

    def log(self, name, value):
        """What the user sees here must be alike."""
        self.logged.append((name, on_host(getattr(value, 'array', value))))

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
