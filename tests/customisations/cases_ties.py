"""Customisations: parameters and links that are shared, frozen or taken out."""
import chainer
from chainer import functions as F
from chainer import links as L
import numpy

from tests.customisations.world import N_UNITS, V, custom


@custom('trainer')
def nothing(w):
    """The example as it is."""


@custom('model')
def tie_output_to_embedding(w):
    w.model.l3.W = w.model.embed.W


@custom('model')
def tie_output_to_embedding_in_scope(w):
    with w.model.l3.init_scope():
        w.model.l3.W = w.model.embed.W


@custom('model')
def tie_embedding_to_output(w):
    w.model.embed.W = w.model.l3.W


@custom('model')
def tie_output_array(w):
    w.model.l3.W.array = w.model.embed.W.array


@custom('model')
def tie_upward_links(w):
    w.model.l2.upward = w.model.l1.upward


@custom('model')
def tie_upward_W(w):
    w.model.l2.upward.W = w.model.l1.upward.W


@custom('model')
def tie_lateral_links(w):
    w.model.l2.lateral = w.model.l1.lateral


@custom('model')
def tie_lateral_W(w):
    w.model.l2.lateral.W = w.model.l1.lateral.W


@custom('model')
def tie_lateral_to_upward(w):
    w.model.l1.lateral.W = w.model.l1.upward.W


@custom('model')
def tie_upward_bias(w):
    w.model.l2.upward.b = w.model.l1.upward.b


@custom('model')
def tie_all_of_layers(w):
    for name in 'upward', 'lateral':
        setattr(w.model.l2, name, getattr(w.model.l1, name))


@custom('model')
def one_layer_twice(w):
    w.model.l2 = w.model.l1


@custom('model')
def one_layer_twice_in_scope(w):
    del w.model.l2
    with w.model.init_scope():
        w.model.l2 = w.model.l1


@custom('model')
def tie_upward_arrays(w):
    w.model.l2.upward.W.array = w.model.l1.upward.W.array


@custom('model')
def tie_lateral_arrays(w):
    w.model.l2.lateral.W.array = w.model.l1.lateral.W.array


@custom('model')
def shared_parameter_of_user(w):
    shared = chainer.Parameter(
        w.random.uniform(-.1, .1, (4 * N_UNITS, N_UNITS)).astype('f'))
    w.model.l1.upward.W = w.model.l2.lateral.W = shared


@custom('model')
def tie_bias_to_output_bias_of_target(w):
    shared = chainer.Parameter(numpy.zeros(V, 'f'))
    w.model.l3.b = shared
    with w.model.init_scope():
        w.model.prior = shared


@custom('model')
def views_of_one_array(w):
    """All parameters in one flat array, as for a fast norm."""
    params = list(w.model.params())
    flat = numpy.concatenate([p.array.ravel() for p in params])
    start = 0
    for p in params:
        p.array = flat[start:start + p.size].reshape(p.shape)
        start += p.size
    w.flat = flat


@custom('model')
def fortran_order(w):
    for p in w.model.params():
        p.array = numpy.asfortranarray(p.array)


@custom('model')
def transposed_view(w):
    w.model.l3.W.array = numpy.ascontiguousarray(w.model.l3.W.array.T).T


@custom('model')
def output_from_wide_array(w):
    wide = numpy.zeros((V, 2 * N_UNITS), 'f')
    wide[:, ::2] = w.model.l3.W.array
    w.model.l3.W.array = wide[:, ::2]


@custom('model')
def no_output_bias(w):
    del w.model.l3.b
    w.model.l3.b = None


@custom('model')
def no_upward_bias(w):
    del w.model.l1.upward.b
    w.model.l1.upward.b = None


@custom('model')
def output_without_bias(w):
    w.model.l3 = L.Linear(N_UNITS, V, nobias=True)


@custom('model')
def lateral_with_bias(w):
    with w.model.l2.lateral.init_scope():
        w.model.l2.lateral.b = chainer.Parameter(
            w.random.uniform(-.1, .1, 4 * N_UNITS).astype('f'))


@custom('model')
def output_bias_of_frequencies(w):
    w.model.l3.b.array[...] = numpy.log(
        (1 + numpy.bincount(w.text, minlength=V)) / (len(w.text) + V))


@custom('model')
def forget_bias_of_one(w):
    for layer in w.model.l1, w.model.l2:
        layer.upward.b.array[2::4] = 1


@custom('model')
def pretrained_embedding(w):
    w.model.embed.W.array[...] = w.random.randn(V, N_UNITS) / 10


@custom('model')
def pretrained_embedding_as_parameter(w):
    with w.model.embed.init_scope():
        w.model.embed.W = chainer.Parameter(
            (w.random.randn(V, N_UNITS) / 10).astype('f'))


@custom('model')
def embedding_grown_by_a_row(w):
    W = w.model.embed.W
    W.array = numpy.concatenate([W.array, W.array[:1]])


@custom('model')
def lateral_W_as_function_of_parameter(w):
    """The weight is the square of a parameter, made again by each forward."""
    lateral, model = w.model.l1.lateral, w.model
    root = chainer.Parameter(lateral.W.array.copy())
    with model.init_scope():
        model.root = root
    del lateral.W
    forward = model.forward

    def with_weight(x):
        lateral.W = F.square(root)
        return forward(x)

    model.forward = with_weight


@custom('model')
def all_in_float64(w):
    for p in w.model.params():
        p.array = p.array.astype('d')


@custom('model')
def embedding_ignore_label(w):
    w.model.embed.ignore_label = 3


@custom('model')
def embedding_ignore_label_of_minus_one(w):
    w.model.embed = L.EmbedID(V, N_UNITS, ignore_label=-1)
