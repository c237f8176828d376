"""A typical script for ChainerMN, with our model; then other features of ChainerMN."""
import sys

import rnnlm  # noqa: F401  makes Chainer importable

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.training import extensions
import chainermn
import numpy as np

chainer.disable_experimental_feature_warning = True
np.random.seed(0)
comm = chainermn.create_communicator('naive')
assert comm.size == 2 and comm.intra_rank == comm.rank and comm.inter_size == 1

# Data-parallel training, each rank on its part of the text.
words = np.arange(2000, dtype='i') % 50
train = chainermn.scatter_dataset(words, comm)
model = L.Classifier(rnnlm.RNNForLM(50, 16, dropout=0.0))
if comm.rank:
    for param in model.params():
        param.array[...] = 0  # the first update broadcasts
optimizer = chainermn.create_multi_node_optimizer(chainer.optimizers.SGD(lr=1.0), comm)
optimizer.setup(model)
optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
updater = rnnlm.BPTTUpdater(
    rnnlm.ParallelSequentialIterator(list(train), 4), optimizer, 10)
trainer = chainer.training.Trainer(updater, (15, 'epoch'), out='result')
evaluator = rnnlm.PerplexityEvaluator(
    rnnlm.ParallelSequentialIterator(words[:100 + comm.rank], 1, repeat=False), model)
trainer.extend(chainermn.create_multi_node_evaluator(evaluator, comm))
trainer.extend(chainermn.extensions.multi_node_snapshot(
    comm, extensions.snapshot(), [0]))
if comm.rank == 0:
    trainer.extend(extensions.LogReport())
    trainer.extend(extensions.PrintReport(['epoch', 'validation/main/loss']))
trainer.run()
losses = comm.gather_obj(trainer.observation['validation/main/loss'])
sums = comm.gather_obj([float(p.array.astype('d').sum()) for p in model.params()])
if comm.rank == 0:
    assert losses[0] == losses[1] < 3.8, losses
    assert sums[0] == sums[1], sums

# Point-to-point and collective communication.
x = np.arange(6, dtype='f').reshape(2, 3) + comm.rank
for dtype in 'f', 'd', np.float16, 'i':
    y = x.astype(dtype)
    if comm.rank == 0:
        comm.send(y, dest=1, tag=0)
        comm.send((y, y[0]), dest=1, tag=1)
        comm.send_obj({'a': y}, dest=1, tag=2)
    else:
        assert (comm.recv(source=0, tag=0) == y - 1).all()
        assert [a.shape for a in comm.recv(source=0, tag=1)] == [(2, 3), (3,)]
        assert (comm.recv_obj(source=0, tag=2)['a'] == y - 1).all()
assert (comm.allreduce(x) == np.arange(6).reshape(2, 3) * 2 + 1).all()
assert [a[0, 0] for a in comm.allgather(x)] == [0, 1]
assert [a[0] for a in comm.alltoall((x[0], x[1]))] == (
    [0, 1] if comm.rank == 0 else [3, 4])
assert (comm.bcast(x if comm.rank == 0 else None) == x - comm.rank).all()
found = comm.gather(x)
assert comm.rank or [a[0, 0] for a in found] == [0, 1]
assert comm.scatter((x, x + 1) if comm.rank == 0 else None)[0, 0] == comm.rank
assert comm.allreduce_obj(comm.rank) == 1
assert comm.bcast_obj('a' if comm.rank == 0 else None) == 'a'
assert comm.split(comm.rank, 0).size == 1

# Functions that communicate, and their gradients.
v = chainer.Variable(x)
if comm.rank == 0:
    y = chainermn.functions.send(v * 2, comm, rank=1)
    y.backward()
    assert (v.grad == 6).all(), v.grad
else:
    y = chainermn.functions.recv(comm, rank=0)
    F.sum(y * 3).backward()
v = chainer.Variable(x)
F.sum(sum(chainermn.functions.allgather(comm, v))).backward()
assert (v.grad == 2).all()
F.sum(sum(chainermn.functions.alltoall(comm, (v[0], v[1])))).backward()
w = chainermn.functions.bcast(comm, v if comm.rank == 0 else None)
F.sum(w).backward()

# Links, iterators, extensions.
bn = chainermn.links.MultiNodeBatchNormalization(3, comm)
F.sum(bn(x)).backward()
chain = chainer.Sequential(L.Linear(3, 4), L.BatchNormalization(4))
chainermn.links.create_mnbn_model(chain, comm)(x)
rnn = chainermn.links.create_multi_node_n_step_rnn(
    L.NStepLSTM(1, 3, 4, 0), comm,
    rank_in=None if comm.rank == 0 else 0, rank_out=1 if comm.rank == 0 else None)
state = rnn([x])
iterator = chainermn.iterators.create_multi_node_iterator(
    chainer.iterators.SerialIterator(np.arange(8, dtype='f'), 4), comm)
batches = comm.gather_obj([float(n) for n in iterator.next()])
assert comm.rank or batches[0] == batches[1]
iterator = chainermn.iterators.create_synchronized_iterator(
    chainer.iterators.SerialIterator(np.arange(8), 4, shuffle=True), comm)
batches = comm.gather_obj([int(n) for n in iterator.next()])
assert comm.rank or batches[0] == batches[1]
chainermn.extensions.AllreducePersistent(bn, comm)(trainer)
assert len(chainermn.datasets.create_empty_dataset(words)) == len(words)
b, e = chainermn.scatter_index(11, comm)
assert e - b == 6
comm.finalize()
sys.stdout.write('all good\n' if comm.rank == 0 else '')
