#!/usr/bin/env python
"""Fine-tunes the model of main.py, with parameters averaged from the start.

    python examples/awd/finetune.py --save awd.npz

It ends when validation has not improved for --nonmono epochs.  If the best model is
better than that in --save, it replaces it.
"""
import rnnlm  # first: it makes Chainer importable

import chainer

import main as first
import options
from model import make_model
from training import KeepBest, NonMonotonic, Until


def main(argv=None):
    parser = options.parser(__doc__)
    parser.add_argument('--out', default='finetune',
                        help='folder of the snapshots and the log (default: finetune)')
    parser.add_argument('--resume', default='', help='snapshot to resume from')
    args = options.parse(parser, argv)
    device, vocabulary, texts = options.prepare(args)
    model = make_model(len(vocabulary), args)
    rnnlm.load_model(args.save, model)
    trainer, optimizer, evaluator = first.make_trainer(
        args, device, len(vocabulary), texts, model)
    before = evaluator()['validation/main/loss']
    trainer.extend(KeepBest(optimizer, args.save, before))
    worse = NonMonotonic(args.nonmono)
    trainer.extend(worse)
    trainer.stop_trigger = Until(args.epochs, worse)
    status = first.run(trainer, args)
    if not status:
        with chainer.using_config('train', False):
            first.test(args.save, model, texts[2])
    return status


if __name__ == '__main__':
    options.run(main)
