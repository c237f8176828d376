"""Sum of gradients over processes, overlapped with the backward pass."""
import chainer
import numpy

from rnnlm.errors import InputError
from rnnlm.functions.lstm_window import LSTMWindow
from rnnlm.functions.softmax_loss import LinearSoftmaxCrossEntropy

# Elements of a piece of a large gradient.  A piece and what is added to it fit into the
# processor's cache, and the MPI library does not copy the whole array.
PIECE = 2 ** 20

# Gradients smaller than this are sent together, at the end.
LARGE = 2 ** 16

# Functions whose parameter gradients are arrays that nothing else reads.
WATCHED = LSTMWindow, LinearSoftmaxCrossEntropy


class Exchange:
    """Backward pass whose gradients are summed over all processes.

    Each process computes the gradient for its own streams, weighted by their number.
    The sum is the gradient of the loss over all streams, bit-identical on every rank.

    With the communicator 'naive', MPI sums arrays in host memory; arrays on a GPU are
    copied there and back.  A large gradient is sent in pieces as soon as it is known,
    while those of the layers below are being computed; small ones are sent together.
    Of the embedding, only the rows of words in the window are sent, and parameters
    that no stream uses are skipped; every rank knows them from the text.  With other
    communicators ChainerMN's ``multi_node_mean_grad`` sums everything after the
    backward pass, including the whole embedding.

    Args:
        group (rnnlm.parallel.group.Group): The processes.
        target: The link.

    Raises:
        rnnlm.errors.InputError: If the communicator cannot work on the link's device.
    """

    def __init__(self, group, target):
        self._group = group
        if not group.exchanges_on_host and target.xp is numpy:
            raise InputError(
                f'communicator: expected naive on {target.device}, found one for GPUs; '
                'use --device 0, or --communicator naive')

    def backward(self, target, loss, batch_size, loss_scale=None, rows=None, ids=None,
                 unused=()):
        """Does the same as ``loss.backward()``, for the loss over all streams.

        Args:
            target: The link.
            loss: Scalar Variable, the loss of this process's streams.
            batch_size (int): Number of streams of all processes, B.
            loss_scale (float): As in Chainer's ``Variable.backward``.
            rows (rnnlm.functions.RowGradient): Knows the rows of gradients.
            ids: int, the words of all streams in the window, if the gradient of
                ``target.predictor.embed.W`` is zero in all other rows.
            unused (list of Parameters): Those whose gradients are zeros on all ranks.

        Returns:
            numpy.ndarray: The loss over all streams, a scalar of the loss's dtype.
        """
        mine = self._group.rows(batch_size)
        weight = (mine.stop - mine.start) / batch_size
        scale = weight if loss_scale is None else weight * loss_scale
        if not self._group.exchanges_on_host:
            scale *= self._group.size  # ChainerMN takes the mean
        loss.grad = loss.xp.full_like(loss.array, scale)
        sums = _Sums(self._group)
        nodes = self._watch(loss, sums) if target.xp is numpy else []
        try:
            loss.backward(loss_scale=loss_scale)
        finally:
            for node in nodes:
                del node.backward  # breaks a reference cycle
        if self._group.exchanges_on_host:
            self._send_rest(target, sums, rows, ids, set(map(id, unused)))
        else:
            sums.by_chainermn(target)
        # Must come after all other sums of the window.
        total = self._group.sum_losses(weight * float(loss.array))
        sums.finish()
        return numpy.asarray(total, loss.dtype)

    def _watch(self, loss, sums):
        """Makes the functions that compute a loss send large gradients immediately."""
        if not self._group.exchanges_on_host:
            return []
        nodes = []
        uses = {}  # input of the graph -> functions that use it
        seen, ahead = set(), [loss.creator_node]
        while ahead:
            node = ahead.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            for x in node.inputs:
                ahead.append(x.creator_node)
                if x.creator_node is None:
                    uses.setdefault(x, []).append(node)
        for node in {users[0] for users in uses.values()
                     if len(users) == 1 and type(users[0]) in WATCHED}:
            once = [len(uses.get(x, ())) == 1 and isinstance(
                x.get_variable_or_none(), chainer.Parameter) for x in node.inputs]
            node.backward = _Watched(node.backward, once, sums)
            nodes.append(node)
        return nodes

    def _send_rest(self, target, sums, rows, ids, unused):
        embedding = None if ids is None else target.predictor.embed.W
        if ids is not None:
            ids = numpy.unique(ids)
            if 2 * len(ids) > len(embedding.array):
                ids = None  # copying the rows would cost more than it saves
        for _, param in sorted(target.namedparams()):
            if param.grad is None:
                param.grad = param.xp.zeros_like(param.array)
            if id(param) in unused:
                continue
            if param is embedding and ids is not None:
                sums.add(param.grad, ids)
                if rows is not None and param.grad is rows.array:
                    rows.ids = ids
                continue
            sums.add(param.grad)
            if rows is not None:  # other ranks may have other rows
                rows.fill(param.grad)
        sums.send_small()


class _Watched:
    """Wrapper of a function's `backward` that sends its large gradients."""

    def __init__(self, backward, once, sums):
        self._backward, self._once, self._sums = backward, once, sums

    def __call__(self, indexes, grad_outputs):
        grads = self._backward(indexes, grad_outputs)
        for k, grad in zip(indexes, grads):
            if self._once[k] and grad is not None and grad.size >= LARGE:
                self._sums.add(grad.array)
        return grads


class _Sums:
    """Arrays of one window that are being summed."""

    def __init__(self, group):
        self._group = group
        self._under_way = []
        self._small = []
        self._back = []  # (array, its rows or None, array that was sent)
        self._seen = {}

    def add(self, array, part=None):
        """Starts to sum an array over all ranks; `finish` stores the sum in the array.

        Args:
            array: NumPy or CuPy array; must not be used until `finish`.
            part: int, the rows to sum; None for all.
        """
        if id(array) in self._seen:
            return
        self._seen[id(array)] = array
        if part is not None:
            part = chainer.backend.get_device_from_array(array).send(part)
        sent = array if part is None else array[part]
        sent = numpy.ascontiguousarray(chainer.cuda.to_cpu(sent))
        if sent.dtype == numpy.float16:  # which MPI lacks
            sent = sent.astype(numpy.float32)
        if sent is not array:
            self._back.append((array, part, sent))
        flat = sent.reshape(-1)
        if flat.size < LARGE:
            self._small.append(flat)
        else:
            self._under_way.append(self._group.start(_sum, flat))

    def send_small(self):
        """Sends the small arrays, those of one dtype together."""
        for dtype in sorted({array.dtype.char for array in self._small}):
            few = [array for array in self._small if array.dtype.char == dtype]
            together = numpy.concatenate(few)
            ends = numpy.cumsum([len(array) for array in few])
            self._back += [(array, None, found) for array, found in zip(
                few, numpy.split(together, ends[:-1]))]
            self._under_way.append(self._group.start(_sum, together))

    def by_chainermn(self, target):
        """Starts ChainerMN's mean of a link's gradients."""
        def work(mpi):
            with chainer.using_device(target.device):
                self._group.communicator.multi_node_mean_grad(target, True)

        self._under_way.append(self._group.start(work))

    def finish(self):
        """Waits until all sums are complete."""
        for future in self._under_way:
            self._group.wait(future)
        # In reverse, because a part of an array may itself have been sent as a part.
        for array, part, found in reversed(self._back):
            if not isinstance(array, numpy.ndarray):
                found = chainer.backend.get_device_from_array(array).send(found)
            if part is None:
                array[...] = found.reshape(array.shape)
            else:
                array[part] = found


def _sum(mpi, array):
    from mpi4py import MPI
    for start in range(0, len(array), PIECE):
        mpi.Allreduce(MPI.IN_PLACE, array[start:start + PIECE])
