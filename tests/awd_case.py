"""A small AWD-LSTM of fixed numbers, for examples/awd and for PyTorch beside it."""
import numpy

V, SIZES, B, BPTT, WINDOWS = 17, (5, 9, 9, 5), 4, 12, 200
AVERAGED_FROM = 120  # windows
OPTIONS = dict(
    emsize=SIZES[0], nhid=SIZES[1], nlayers=len(SIZES) - 1, dropout=.3, dropouth=.2,
    dropouti=.25, dropoute=.1, wdrop=.4, alpha=.4, beta=.2, lr=3., clip=.3,
    wdecay=1e-4, bptt=BPTT, batch_size=B)


def text():
    """int (N,): a text of which something can be learned."""
    random = numpy.random.RandomState(4)
    steps = random.choice([1, 2, 5], 900, p=[.7, .2, .1])
    return (numpy.cumsum(steps) % V).astype('i')


def parameters():
    """{name: float64 array} of a `rnnlm.LanguageModel`, with Chainer's gate order."""
    random = numpy.random.RandomState(9)
    shapes = {'embed/W': (V, SIZES[0]), f'l{len(SIZES)}/b': (V,)}
    for k, (m, n) in enumerate(zip(SIZES, SIZES[1:]), 1):
        shapes.update({f'l{k}/upward/W': (4 * n, m), f'l{k}/upward/b': (4 * n,),
                       f'l{k}/lateral/W': (4 * n, n)})
    return {name: random.uniform(-.6, .6, shape)
            for name, shape in sorted(shapes.items())}


def summary(arrays):
    """{name: two numbers that stand for an array}."""
    return {name: [float((array ** 2).sum()), float(
        (array * numpy.cos(numpy.arange(array.size)).reshape(array.shape)).sum())]
        for name, array in arrays.items()}
