"""A slow, plain NumPy statement of the recurrent language model and its training.

Everything here is written from the published equations (Zaremba, Sutskever and
Vinyals, 2014; the LSTM as documented for ``chainer.functions.lstm``), one time step
after the other, with nothing fused and nothing saved.  It exists to judge faster
code, so it must not share any with it: only NumPy is imported.

Sizes: T steps, B streams, V words, n units, N LSTM layers.  Parameters are a dict
by Chainer's parameter paths:

    /embed/W         (V, n)
    /lk/upward/W     (4n, n)    k = 1..N
    /lk/upward/b     (4n,)
    /lk/lateral/W    (4n, n)
    /l{N+1}/W        (V, n)
    /l{N+1}/b        (V,)

All arithmetic is done in the dtype of the parameters.  Dropout masks are an array
(T, N+1, B, n) of factors, [:, 0] for the embedding and [:, k] for the output of
layer k; None is no dropout.  A state is a pair (c, h) of arrays (N, B, n); None,
as the pair or as either half, is zeros.
"""
import numpy as np


def n_layers(params):
    """Return N, the number of LSTM layers."""
    return sum(1 for path in params if path.endswith('/lateral/W'))


def init_params(V, n, N, rng, scale=0.1, dtype=np.float64):
    """Return parameters drawn uniformly from [-scale, scale) with ``rng``."""
    shapes = {'/embed/W': (V, n)}
    for k in range(1, N + 1):
        shapes['/l%d/upward/W' % k] = (4 * n, n)
        shapes['/l%d/upward/b' % k] = (4 * n,)
        shapes['/l%d/lateral/W' % k] = (4 * n, n)
    shapes['/l%d/W' % (N + 1)] = (V, n)
    shapes['/l%d/b' % (N + 1)] = (V,)
    return {path: rng.uniform(-scale, scale, shape).astype(dtype)
            for path, shape in shapes.items()}


def sigmoid(z):
    """1 / (1 + exp(-z)), in the form that cannot overflow."""
    half = z.dtype.type(0.5)
    return half * np.tanh(half * z) + half


# One LSTM layer over a window

def _run_layer(x, c0, h0, Wu, b, Wl):
    """Run the layer and return every intermediate value, one dict for each step.

    z = Wu x + b + Wl h_prev is (B, 4n), where unit j owns the columns 4j, 4j+1,
    4j+2 and 4j+3, which are a, i, f and o before their nonlinearities:

        a = tanh(z_a)   i = sigm(z_i)   f = sigm(z_f)   o = sigm(z_o)
        c = a i + f c_prev              h = o tanh(c)
    """
    T, B = x.shape[:2]
    n = Wl.shape[1]
    c = np.zeros((B, n), Wu.dtype) if c0 is None else c0
    h = np.zeros((B, n), Wu.dtype) if h0 is None else h0
    steps = []
    for t in range(T):
        z = x[t].dot(Wu.T) + b + h.dot(Wl.T)
        step = {'c_prev': c, 'h_prev': h}
        step['a'] = np.tanh(z[:, 0::4])
        step['i'] = sigmoid(z[:, 1::4])
        step['f'] = sigmoid(z[:, 2::4])
        step['o'] = sigmoid(z[:, 3::4])
        c = step['a'] * step['i'] + step['f'] * c
        h = step['o'] * np.tanh(c)
        step['c'] = c
        step['h'] = h
        steps.append(step)
    return steps, c, h


def lstm_layer_forward(x, c0, h0, Wu, b, Wl):
    """One layer: x (T, B, in), c0 and h0 (B, n) -> hs (T, B, n), c_T, h_T (B, n).

    Wu is (4n, in), b (4n,), Wl (4n, n).  c0 and h0 may each be None (zeros).
    """
    steps, c_T, h_T = _run_layer(x, c0, h0, Wu, b, Wl)
    hs = np.zeros(x.shape[:2] + (Wl.shape[1],), Wu.dtype)
    for t, step in enumerate(steps):
        hs[t] = step['h']
    return hs, c_T, h_T


def lstm_layer_backward(x, c0, h0, Wu, b, Wl, dhs=None, dc_T=None, dh_T=None):
    """Gradients of one layer: -> dx, dc0, dh0, dWu, db, dWl.

    dhs (T, B, n), dc_T and dh_T (B, n) are the gradients with respect to the three
    outputs of ``lstm_layer_forward``; None is zeros.  Going back from the last step,
    with dh and dc the whole gradients with respect to h and c of the step:

        do = dh tanh(c)            dc += dh o (1 - tanh(c)^2)
        da = dc i    di = dc a     df = dc c_prev      dc_prev = dc f
        dz_a = da (1 - a^2)        dz_g = dg g (1 - g)  for g in i, f, o
        dx = dz Wu   dh_prev = dz Wl
        dWu += dz' x   dWl += dz' h_prev   db += sum of dz over the streams
    """
    T, B = x.shape[:2]
    n = Wl.shape[1]
    steps = _run_layer(x, c0, h0, Wu, b, Wl)[0]
    dx, dWu, db, dWl = (np.zeros_like(array) for array in (x, Wu, b, Wl))
    dc = np.zeros((B, n), Wu.dtype)
    dh = np.zeros((B, n), Wu.dtype)
    if dc_T is not None:
        dc = dc + dc_T
    if dh_T is not None:
        dh = dh + dh_T
    for t in reversed(range(T)):
        step = steps[t]
        a, i, f, o = step['a'], step['i'], step['f'], step['o']
        if dhs is not None:
            dh = dh + dhs[t]
        tanh_c = np.tanh(step['c'])
        do = dh * tanh_c
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        da = dc * i
        di = dc * a
        df = dc * step['c_prev']
        dz = np.zeros((B, 4 * n), Wu.dtype)
        dz[:, 0::4] = da * (1 - a * a)
        dz[:, 1::4] = di * i * (1 - i)
        dz[:, 2::4] = df * f * (1 - f)
        dz[:, 3::4] = do * o * (1 - o)
        dx[t] = dz.dot(Wu)
        dWu += dz.T.dot(x[t])
        dWl += dz.T.dot(step['h_prev'])
        db += dz.sum(axis=0)
        dc = dc * f
        dh = dz.dot(Wl)
    return dx, dc, dh, dWu, db, dWl


# The loss

def log_softmax(y):
    """log softmax over the last axis."""
    y = y - y.max(axis=-1, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=-1, keepdims=True))


def step_losses(logits, targets):
    """Loss of each step (T,): the mean of -log p[target] over its valid streams.

    logits (T, B, V), targets (T, B).  A target of -1 is ignored; a step without a
    valid target has a loss of 0.
    """
    T, B = targets.shape
    losses = np.zeros(T, logits.dtype)
    for t in range(T):
        log_p = log_softmax(logits[t])
        count = 0
        for s in range(B):
            if targets[t, s] != -1:
                losses[t] -= log_p[s, targets[t, s]]
                count += 1
        losses[t] /= max(1, count)
    return losses


def loss_dlogits(logits, targets):
    """Gradient (T, B, V) of the loss with respect to the logits.

    (softmax(y) - onehot(target)) / (number of valid targets of the step), and zero
    where the target is ignored.
    """
    T, B = targets.shape
    dlogits = np.zeros_like(logits)
    for t in range(T):
        count = max(1, int((targets[t] != -1).sum()))
        for s in range(B):
            if targets[t, s] != -1:
                dlogits[t, s] = np.exp(log_softmax(logits[t, s]))
                dlogits[t, s, targets[t, s]] -= 1
                dlogits[t, s] /= count
    return dlogits


# The whole model over a window

def _layer_arguments(params, state, k):
    """Initial state and weights (c0, h0, Wu, b, Wl) of layer k = 1..N."""
    c0, h0 = (None, None) if state is None else state
    return (None if c0 is None else c0[k - 1],
            None if h0 is None else h0[k - 1],
            params['/l%d/upward/W' % k],
            params['/l%d/upward/b' % k],
            params['/l%d/lateral/W' % k])


def forward(params, ids, masks=None, state=None):
    """ids (T, B) -> logits (T, B, V), final state (c, h) (N, B, n), activations.

    The third value is a list of N+1 arrays (T, B, n): the inputs, after dropout, of
    layers 1..N and of the output layer.
    """
    N = n_layers(params)
    T, B = ids.shape
    n = params['/embed/W'].shape[1]
    dtype = params['/embed/W'].dtype
    c = np.zeros((N, B, n), dtype)
    h = np.zeros((N, B, n), dtype)
    x = np.zeros((T, B, n), dtype)
    for t in range(T):
        for s in range(B):
            x[t, s] = params['/embed/W'][ids[t, s]]
    inputs = []
    for k in range(1, N + 1):
        if masks is not None:
            x = x * masks[:, k - 1]
        inputs.append(x)
        x, c[k - 1], h[k - 1] = lstm_layer_forward(
            x, *_layer_arguments(params, state, k))
    if masks is not None:
        x = x * masks[:, N]
    inputs.append(x)
    logits = np.zeros((T, B, params['/l%d/W' % (N + 1)].shape[0]), dtype)
    for t in range(T):
        logits[t] = x[t].dot(params['/l%d/W' % (N + 1)].T)
        logits[t] += params['/l%d/b' % (N + 1)]
    return logits, (c, h), inputs


def loss(params, ids, targets, masks=None, state=None):
    """Sum over the steps of the mean over the streams of -log p[target]."""
    logits = forward(params, ids, masks, state)[0]
    return step_losses(logits, targets).sum()


def backward(params, ids, targets=None, masks=None, state=None,
             dlogits=None, dc_final=None, dh_final=None):
    """Gradients: -> dict by parameter path, (dc0, dh0) each (N, B, n).

    What is differentiated is the sum of
        loss(params, ids, targets, masks, state)    unless targets is None,
        sum(dlogits * logits)                       unless dlogits is None,
        sum(dc_final * c) + sum(dh_final * h)       unless None, each.
    """
    N = n_layers(params)
    T, B = ids.shape
    logits, _, inputs = forward(params, ids, masks, state)
    grads = {path: np.zeros_like(array) for path, array in params.items()}
    dc0 = np.zeros((N, B, params['/embed/W'].shape[1]), logits.dtype)
    dh0 = np.zeros_like(dc0)

    dy = np.zeros_like(logits)
    if targets is not None:
        dy = dy + loss_dlogits(logits, targets)
    if dlogits is not None:
        dy = dy + dlogits
    dx = np.zeros_like(inputs[N])
    for t in range(T):
        grads['/l%d/W' % (N + 1)] += dy[t].T.dot(inputs[N][t])
        grads['/l%d/b' % (N + 1)] += dy[t].sum(axis=0)
        dx[t] = dy[t].dot(params['/l%d/W' % (N + 1)])
    if masks is not None:
        dx = dx * masks[:, N]

    for k in range(N, 0, -1):
        dx, dc0[k - 1], dh0[k - 1], dWu, db, dWl = lstm_layer_backward(
            inputs[k - 1], *_layer_arguments(params, state, k), dhs=dx,
            dc_T=None if dc_final is None else dc_final[k - 1],
            dh_T=None if dh_final is None else dh_final[k - 1])
        grads['/l%d/upward/W' % k] += dWu
        grads['/l%d/upward/b' % k] += db
        grads['/l%d/lateral/W' % k] += dWl
        if masks is not None:
            dx = dx * masks[:, k - 1]

    for t in range(T):
        for s in range(B):
            grads['/embed/W'][ids[t, s]] += dx[t, s]
    return grads, (dc0, dh0)


# Training

def gradient_norm(grads):
    """Global L2 norm: the square root of the sum of all squared gradients."""
    return np.sqrt(sum((g * g).sum() for g in grads.values()))


def sgd_step(params, grads, lr, clip=None):
    """p <- p - lr min(1, clip / norm) g, in place; returns the norm before clipping.

    ``grads`` is left alone.  clip = None is no clipping.
    """
    norm = gradient_norm(grads)
    rate = 1.0
    if clip is not None and norm > 0 and clip / norm < 1:
        rate = clip / norm
    for path, g in grads.items():
        params[path] -= g.dtype.type(lr) * (g.dtype.type(rate) * g)
    return norm


def official_masks(T, n_layers, B, n, ratio, dtype=np.float32):
    """Masks (T, n_layers + 1, B, n) as Chainer's dropout draws them on the CPU.

    From the global ``numpy.random`` stream: for each step, for the embedding and
    then each layer upward, one ``rand(B, n)``; kept, and scaled, where >= ratio.
    """
    scale = np.dtype(dtype).type(1.0 / (1.0 - ratio))
    masks = np.zeros((T, n_layers + 1, B, n), dtype)
    for t in range(T):
        for k in range(n_layers + 1):
            masks[t, k] = scale * (np.random.rand(B, n) >= ratio)
    return masks


def window_ids(stream, B, T, first):
    """Words first .. first+T-1 of each of B streams: ids and targets, both (T, B).

    Stream s starts at s * len(stream) // B; positions wrap at the end of the data.
    """
    size = len(stream)
    ids = np.zeros((T, B), np.int64)
    targets = np.zeros((T, B), np.int64)
    for t in range(T):
        for s in range(B):
            position = s * size // B + first + t
            ids[t, s] = stream[position % size]
            targets[t, s] = stream[(position + 1) % size]
    return ids, targets


def train(params, stream, B, T, windows, lr=1.0, clip=5.0, ratio=0.5, state=None):
    """Truncated BPTT with SGD: -> window mean losses, gradient norms, final state.

    Each window starts from the final state of the one before, through which no
    gradient flows.  ``params`` is updated in place.  The mean loss of a window is
    the mean over its steps, before the update; the norms are before clipping.
    Dropout, where ratio is not None, is drawn by ``official_masks``.
    """
    N = n_layers(params)
    n = params['/embed/W'].shape[1]
    dtype = params['/embed/W'].dtype
    losses = []
    norms = []
    for w in range(windows):
        ids, targets = window_ids(stream, B, T, w * T)
        masks = None
        if ratio is not None:
            masks = official_masks(T, N, B, n, ratio, dtype)
        logits, next_state, _ = forward(params, ids, masks, state)
        losses.append(float(step_losses(logits, targets).mean()))
        grads, _ = backward(params, ids, targets, masks, state)
        norms.append(float(sgd_step(params, grads, lr, clip)))
        state = next_state
    return losses, norms, state


def evaluate(params, stream):
    """Mean loss of a word over the stream: one stream, no dropout, fresh state.

    As many words are predicted as the stream has: the last target is its first word.
    """
    ids, targets = window_ids(stream, 1, len(stream), 0)
    return float(step_losses(forward(params, ids)[0], targets).mean())


def numerical_gradient(f, params, direction, eps=1e-5):
    """Derivative of f(params) along ``direction``, by central differences.

    (f(p + eps d) - f(p - eps d)) / (2 eps), in float64.  ``params`` and
    ``direction`` are dicts of arrays; what ``direction`` lacks is held fixed.
    """
    def moved(step):
        point = {path: np.array(p, np.float64) for path, p in params.items()}
        for path, d in direction.items():
            point[path] += step * np.asarray(d, np.float64)
        return point
    return float(f(moved(eps)) - f(moved(-eps))) / (2 * eps)
