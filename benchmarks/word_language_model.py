"""PyTorch's word_language_model on the Penn Treebank, for the time that it takes.

    python benchmarks/word_language_model.py --corpus FOLDER --minutes 40
    python benchmarks/word_language_model.py --corpus FOLDER --emsize 650 --nhid 650 \
--dropout 0.5

The recipe of pytorch/examples/word_language_model with ``--tied``, reimplemented: two
LSTM layers, SGD at the learning rate 20 on the mean loss, gradients clipped to 0.25,
and a learning rate that is divided by 4 after each epoch without a better validation.
Its README gives a perplexity of 87.17 for ``--tied`` after 40 epochs.  Results
are stored in ptb.json.  With --save it can be stopped between epochs and continued.
"""
import argparse
import math
import os
import sys
import time

import rnnlm

import numpy
import torch
from torch import nn

import common
from report_ptb import KEPT

COMMAND = 'benchmarks/word_language_model.py'
NAME = 'word_language_model'
ANNEAL, CLIP, LR, EVAL_BATCH = 4.0, 0.25, 20.0, 10


class Model(nn.Module):
    """Embedding, LSTM layers with dropout, and an output that shares the embedding."""

    def __init__(self, n_vocab, emsize, nhid, dropout, nlayers=2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.embed = nn.Embedding(n_vocab, emsize)
        self.lstm = nn.LSTM(emsize, nhid, nlayers, dropout=dropout)
        self.output = nn.Linear(nhid, n_vocab)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        nn.init.zeros_(self.output.bias)
        self.output.weight = self.embed.weight

    def forward(self, ids, state):
        """ids (T, B) -> logits (T, B, V), and the state after them."""
        h, state = self.lstm(self.drop(self.embed(ids)), state)
        return self.output(self.drop(h)), state


def streams(ids, batch):
    """Ids (N,) cut into streams: (N // B, B)."""
    n = len(ids) // batch
    return torch.from_numpy(numpy.array(ids[:n * batch], dtype='l')).view(batch, n).t()


def windows(ids, bptt):
    """Inputs and targets (T, B) of each window."""
    for start in range(0, len(ids) - 1, bptt):
        T = min(bptt, len(ids) - 1 - start)
        yield ids[start:start + T], ids[start + 1:start + 1 + T]


def loss_of(model, x, t, state):
    """The mean loss of a window, and the state after it."""
    logits, state = model(x, state)
    return nn.functional.cross_entropy(logits.flatten(0, 1), t.flatten()), state


def train_epoch(model, ids, lr, bptt):
    model.train()
    state = None
    for x, t in windows(ids, bptt):
        if state is not None:
            state = tuple(s.detach() for s in state)
        model.zero_grad()
        loss, state = loss_of(model, x, t, state)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        with torch.no_grad():
            for param in model.parameters():
                param.add_(param.grad, alpha=-lr)


@torch.no_grad()
def perplexity(model, ids, bptt):
    model.eval()
    total, count, state = 0.0, 0, None
    for x, t in windows(ids, bptt):
        loss, state = loss_of(model, x, t, state)
        total, count = total + float(loss) * len(x), count + len(x)
    return math.exp(total / count)


def train(args, text):
    """Trains until the minutes or the epochs are over; what is kept of the run."""
    torch.manual_seed(args.seed)
    model = Model(len(text.vocabulary), args.emsize, args.nhid, args.dropout)
    run = {'log': [], 'lr': LR, 'seconds': 0.0, 'best': None, 'stops': 0}
    resumed = False
    if args.save and os.path.exists(args.save):
        run, weights, stream = torch.load(args.save, weights_only=False)
        model.load_state_dict(weights)
        torch.set_rng_state(stream)
        resumed = True
    ids = streams(text.train, args.batch_size)
    valid, test = (streams(part, EVAL_BATCH) for part in (text.valid, text.test))
    while len(run['log']) < args.epochs and run['seconds'] < 60 * args.minutes:
        run['stops'] += resumed
        resumed = False
        begin = time.perf_counter()
        train_epoch(model, ids, run['lr'], args.bptt)
        found = perplexity(model, valid, args.bptt)
        run['seconds'] += time.perf_counter() - begin  # with validation, as in our log
        run['log'].append({
            'epoch': len(run['log']) + 1, 'elapsed_time': run['seconds'],
            'val_perplexity': found, 'lr': run['lr']})
        print(run['log'][-1], flush=True)
        if run['best'] is None or found < run['best'][0]:
            test_of_best = perplexity(model, test, args.bptt)
            run['best'] = found, test_of_best
        else:
            run['lr'] /= ANNEAL
        if args.save:
            torch.save((run, model.state_dict(), torch.get_rng_state()),
                       f'{args.save}.new')
            os.replace(f'{args.save}.new', args.save)
    return run


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    add('--minutes', type=float, default=math.inf, help='of training, at most')
    add('--epochs', type=int, default=40)
    add('--emsize', type=int, default=200)
    add('--nhid', type=int, default=200)
    add('--dropout', type=float, default=0.2)
    add('--batch-size', type=int, default=20)
    add('--bptt', type=int, default=35)
    add('--seed', type=int, default=1111)
    add('--save', metavar='FILE', help='of the run so far, which goes on from there')
    args = parser.parse_args(argv)
    machine = common.begin(COMMAND)
    try:
        text = rnnlm.load_corpus(args.corpus)
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    run = train(args, text)
    flags = (f'--emsize {args.emsize} --nhid {args.nhid} '
             f'--dropout {args.dropout:g} --tied')
    results = common.kept(KEPT)
    results.setdefault(NAME, {}).setdefault(flags, {'runs': {}})['runs'][
        str(args.seed)] = {
            'finished': True, 'valid': run['best'][0], 'test': run['best'][1],
            'minutes': run['seconds'] / 60, 'stops': run['stops'], 'machine': machine,
            'log': run['log']}
    common.keep(KEPT, results)
    return 0


if __name__ == '__main__':
    sys.exit(main())
