"""Customisations: what extensions do between windows, configuration, states."""
import copy
import io
import pickle

import chainer
from chainer import functions as F
from chainer import serializers
from chainer.training import extensions
import numpy

from tests.customisations.world import N_UNITS, custom


@custom('trainer')
def grads_logged(w):
    w.every(lambda: [w.log(name, p.grad) for name, p in w.target.namedparams()])


@custom('trainer')
def grads_kept_without_copy(w):
    kept = []

    def keep():
        kept.append([p.grad for p in w.target.params()])
        for k, grads in enumerate(kept):
            w.log(f'kept {k}', sum(float((g ** 2).sum()) for g in grads))
    w.every(keep)


@custom('trainer')
def embedding_grad_kept_without_copy(w):
    kept = []

    def keep():
        kept.append(w.model.embed.W.grad)
        for grad in kept:
            w.log('kept', grad)
    w.every(keep)


@custom('trainer')
def momentum_by_kept_gradients(w):
    """The gradient of the window before is applied once more."""
    kept = []

    def apply():
        for p, g in zip(w.target.params(), kept):
            p.array -= .1 * g
        kept[:] = [p.grad for p in w.target.params()]
    w.every(apply)


@custom('trainer')
def noise_into_embedding_grad(w):
    random = numpy.random.RandomState(6)

    def noise():
        grad = w.model.embed.W.grad
        grad += random.normal(0, .1, grad.shape).astype('f')
    w.every(noise)


@custom('optimizer')
def noise_into_embedding_grad_by_hook(w):
    def noise(optimizer):
        grad = w.model.embed.W.grad
        grad += numpy.random.normal(0, .1, grad.shape).astype('f')
    w.optimizer.add_hook(noise)


@custom('trainer')
def grads_cleared(w):
    w.every(lambda: w.target.cleargrads())


@custom('trainer')
def grads_zeroed(w):
    w.every(lambda: w.target.zerograds())


@custom('trainer')
def grads_set_to_ones(w):
    def ones():
        for p in w.target.params():
            p.grad = numpy.ones_like(p.array)
    w.every(ones)


@custom('trainer')
def embedding_row_reset(w):
    """A padding word, whose vector stays at zero."""
    def zero():
        w.model.embed.W.array[0] = 0
    w.every(zero)


@custom('trainer')
def parameters_rebound(w):
    def rebind():
        for p in w.target.params():
            p.array = p.array * .9
    w.every(rebind, 2)


@custom('trainer')
def parameters_averaged(w):
    average = {}

    def mean():
        for name, p in w.target.namedparams():
            average[name] = .5 * average.get(name, 0) + .5 * p.array
            w.log(name, average[name])
    w.every(mean)


@custom('trainer')
def parameters_to_float64_mid_run(w):
    def cast():
        for p in w.target.params():
            p.array = p.array.astype('d')
        for layer in w.model.l1, w.model.l2:
            layer.set_state(*(chainer.Variable(s.array.astype('d'))
                              for s in (layer.c, layer.h)))
    w.at(3, cast)


@custom('trainer')
def h_of_a_layer_none(w):
    def forget():
        w.model.l1.h = None
    w.every(forget, 2)


@custom('trainer')
def c_of_a_layer_none(w):
    def forget():
        w.model.l2.c = None
    w.every(forget, 2)


@custom('trainer')
def state_reset_each_second_window(w):
    w.every(lambda: w.model.reset_state(), 2)


@custom('trainer')
def state_reset_each_epoch(w):
    w.trainer.extend(lambda _: w.model.reset_state(), name='reset',
                     trigger=(1, 'epoch'))


@custom('trainer')
def state_of_a_layer_reset(w):
    w.every(lambda: w.model.l2.reset_state(), 2)


@custom('trainer')
def state_set(w):
    def set_state():
        w.model.l1.set_state(*(chainer.Variable(numpy.full(
            (w.streams, N_UNITS), value, 'f')) for value in (.5, -.5)))
    w.every(set_state, 2)


@custom('trainer')
def state_logged(w):
    def log():
        for layer in w.model.l1, w.model.l2:
            w.log('c', layer.c)
            w.log('h', layer.h)
    w.every(log)


@custom('trainer')
def state_in_place(w):
    def halve():
        w.model.l1.h.array *= .5
        w.model.l2.c.array[0] = 0
    w.every(halve)


@custom('trainer')
def state_of_one_stream_zeroed(w):
    def zero():
        for layer in w.model.l1, w.model.l2:
            layer.h = layer.h * numpy.array([[0]] + [[1]] * (w.streams - 1), 'f')
    w.every(zero)


@custom('trainer')
def state_put_aside(w):
    kept = []

    def swap():
        kept.append((w.model.l1.c, w.model.l1.h))
        if len(kept) == 3:
            w.model.l1.set_state(*kept[0])
    w.every(swap)


@custom('trainer')
def state_seen_by_graph(w):
    """Nothing of the window's graph hangs on the state."""
    w.every(lambda: w.log('creator', w.model.l1.h.creator is None))


@custom('trainer')
def words_generated(w):
    """A copy writes a few words between the windows."""
    def write():
        rnn = w.model.copy()
        rnn.reset_state()
        word = numpy.array([1], 'i')
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            for _ in range(4):
                p = F.softmax(rnn(word)).array[0]
                word = numpy.array([p.argmax()], 'i')
                w.log('p', p)
    w.every(write, 2)


@custom('trainer')
def model_called_between_windows(w):
    def call():
        w.log('y', w.model(numpy.zeros(w.streams, 'i')))
    w.every(call, 2)


@custom('trainer')
def target_called_between_windows(w):
    zeros = numpy.zeros(w.streams, 'i')

    def call():
        with chainer.Reporter().scope({}):
            w.log('loss', w.target(zeros, zeros) if not hasattr(
                w.target, 'lossfun') else w.target.lossfun(w.model(zeros), zeros))
    w.every(call, 2)


@custom('trainer')
def target_attributes_read(w):
    """Chainer leaves y and loss of the last step on the Classifier."""
    w.every(lambda: w.log('y', w.target.y))


@custom('trainer')
def target_loss_attribute_read(w):
    w.every(lambda: w.log('kind', type(w.target.loss).__name__))


@custom('trainer')
def deep_copy_mid_run(w):
    def look():
        other = copy.deepcopy(w.target).predictor
        with chainer.using_config('train', False):
            w.log('y', other(numpy.ones(w.streams, 'i')))
    w.at(2, look)


@custom('trainer')
def pickled_mid_run(w):
    def look():
        other = pickle.loads(pickle.dumps(w.model))
        with chainer.using_config('train', False):
            w.log('y', other(numpy.ones(w.streams, 'i')))
    w.at(3, look)


@custom('target')
def target_deep_copied(w):
    w.target = copy.deepcopy(w.target)
    w.model = w.target.predictor


@custom('target')
def target_pickled(w):
    w.target = pickle.loads(pickle.dumps(w.target))
    w.model = w.target.predictor


@custom('target')
def target_copied(w):
    w.target = w.target.copy()
    w.model = w.target.predictor


@custom('target')
def target_copied_with_new_values(w):
    w.target = w.target.copy(mode='init')
    w.model = w.target.predictor


@custom('model')
def model_to_cpu(w):
    w.model.to_device('@numpy')


@custom('trainer')
def saved_and_loaded_mid_run(w):
    file = io.BytesIO()

    def load():
        file.seek(0)
        serializers.load_npz(file, w.target)
    w.at(1, lambda: serializers.save_npz(file, w.target))
    w.at(3, load)


@custom('trainer')
def optimizer_saved_and_loaded(w):
    def load():
        file = io.BytesIO()
        serializers.save_npz(file, w.optimizer)
        file.seek(0)
        serializers.load_npz(file, w.optimizer)
    w.at(3, load)


@custom('trainer')
def parameter_statistics(w):
    w.trainer.extend(extensions.ParameterStatistics(
        w.model, statistics={'norm': numpy.linalg.norm}, trigger=(1, 'iteration')))
