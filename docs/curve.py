"""Draws perplexity.png: the training curve of `rnnlm train`, on the demo corpus.

    python docs/curve.py           trains the model (half a minute), keeps curve.json
    python docs/curve.py --draw    the picture again, from curve.json
"""
import argparse
import json
import os
import tempfile

import pictures
import rnnlm
from rnnlm.training import plotting

KEPT = os.path.join(pictures.FOLDER, 'curve.json')
OF_LOG = 'epoch', 'iteration', 'perplexity', 'val_perplexity'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--draw', action='store_true', help='train nothing')
    if not parser.parse_args().draw:
        run = train()
        with open(KEPT, 'w', encoding='utf-8', newline='\n') as f:
            f.write(json.dumps(run, indent=1) + '\n')
    with open(KEPT, encoding='utf-8') as f:
        draw(json.load(f))


def train():
    """What `rnnlm train --seed 0` writes, as far as the picture shows it."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'result')
        result = rnnlm.train(
            rnnlm.load_corpus('demo'), rnnlm.PRESETS['demo'], out=out, seed=0)
        with open(os.path.join(out, 'log'), encoding='utf-8') as f:
            log = json.load(f)
    return {'log': [{key: entry[key] for key in OF_LOG} for entry in log],
            **{key: result[key] for key in ('test', 'valid_unknown', 'limit')}}


def draw(run):
    last = run['log'][-1]
    plotting.draw(
        run['log'], last['iteration'] / last['epoch'],
        os.path.join(pictures.FOLDER, 'perplexity.png'), limit=run['limit'],
        unknown=run['valid_unknown'], test=run['test'])


if __name__ == '__main__':
    main()
