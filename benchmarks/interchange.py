"""Computes the perplexity of a model in other systems; writes RESULTS.md's section.

    python benchmarks/interchange.py RUN --corpus FOLDER

RUN is the folder of a run trained on the corpus (default: RNNLM_PTB_DIR).  Needs torch,
keras, onnx and onnxruntime; each reads the file that `rnnlm convert` writes.
"""
import argparse
import importlib.util
import os
import sys
import tempfile

import rnnlm

import numpy

from rnnlm.data import corpus
from rnnlm.interchange import convert
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)

import common

CHUNK = 500  # words per call


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('run', help='folder of a run')
    parser.add_argument('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    args = parser.parse_args()
    machine = common.begin('benchmarks/interchange.py RUN')
    model = rnnlm.load(args.run).model
    words = corpus.load(args.corpus).test
    found = {f'rnnlm {rnnlm.__version__}': evaluate_perplexity(
        make_evaluator(words, make_classifier(model)))}
    weights = convert.load(os.path.join(args.run, 'model.npz'))
    with tempfile.TemporaryDirectory() as folder:
        for system in in_pytorch, in_keras, in_onnxruntime:
            name, step = system(folder, weights, model)
            found[name] = perplexity(step, words, model)
            print(f'{name:24}{found[name]:.6f}', file=sys.stderr)
    write(found, model, machine)


def perplexity(step, words, model):
    """Returns the perplexity of a stream, by a function of ids (T, 1), h and c."""
    h = c = numpy.zeros((model.n_layers, 1, model.n_units), 'f')
    words = numpy.append(words, words[0])  # as the evaluator, which wraps around
    total = 0.0
    for start in range(0, len(words) - 1, CHUNK):
        part = words[start:start + CHUNK + 1]
        logits, h, c = step(part[:-1, None].astype('int64'), h, c)
        logits = logits[:, 0].astype('d')
        top = logits.max(axis=1)
        log_sum = top + numpy.log(numpy.exp(logits - top[:, None]).sum(axis=1))
        total += (log_sum - logits[numpy.arange(len(logits)), part[1:]]).sum()
    return float(numpy.exp(total / (len(words) - 1)))


def in_pytorch(folder, weights, model):
    import torch
    path = os.path.join(folder, 'exported.py')
    convert.save(path, weights)
    spec = importlib.util.spec_from_file_location('exported', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exported = module.load()

    def step(ids, h, c):
        with torch.no_grad():
            logits, state = exported(torch.from_numpy(ids), tuple(
                torch.from_numpy(array) for array in (h, c)))
        return (logits.numpy(), *(array.numpy() for array in state))

    return f'PyTorch {torch.__version__}', step


def in_keras(folder, weights, model):
    os.environ.setdefault('KERAS_BACKEND', 'torch')
    import keras
    path = os.path.join(folder, 'model.weights.h5')
    convert.save(path, weights)
    ids = keras.Input((None,), dtype='int32')
    x, states = keras.layers.Embedding(model.n_vocab, model.n_embed)(ids), []
    given = [[keras.Input((model.n_units,)) for _ in 'hc']
             for _ in range(model.n_layers)]
    for k in range(model.n_layers):
        x, *state = keras.layers.LSTM(
            model.n_units, return_sequences=True, return_state=True)(
                x, initial_state=given[k])
        states.append(state)
    exported = keras.Model([ids, given], [keras.layers.Dense(model.n_vocab)(x), states])
    exported.load_weights(path)

    def step(ids, h, c):
        logits, states = exported([ids.T.astype('i'), [
            [h[k], c[k]] for k in range(model.n_layers)]])
        as_numpy = keras.ops.convert_to_numpy
        h, c = (numpy.stack([as_numpy(state[k]) for state in states]) for k in range(2))
        return as_numpy(logits).transpose(1, 0, 2), h, c

    return f'Keras {keras.__version__}', step


def in_onnxruntime(folder, weights, model):
    import onnxruntime
    path = os.path.join(folder, 'model.onnx')
    convert.save(path, weights)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return f'onnxruntime {onnxruntime.__version__}', lambda ids, h, c: session.run(
        None, {'ids': ids, 'h': h, 'c': c})


def write(found, model, machine):
    first = next(iter(found.values()))
    rows = [[name, f'{value:.5f}', f'{value / first - 1:+.1e}']
            for name, value in found.items()]
    text = '\n'.join([
        '## The same model in other systems', '',
        f'{model.n_layers} x {model.n_units} units, trained by `rnnlm train --preset '
        'small` on the Penn Treebank, one run (n = 1). The test part is read as one '
        'stream; each system reads the file that `rnnlm convert` writes for it. By '
        f'`python benchmarks/interchange.py RUN`. {common.machine_line(machine)}.', '',
        common.table(['system', 'test perplexity', 'relative difference'], rows)])
    common.replace('Interchange', 'interchange.py', text)
    print(text)


if __name__ == '__main__':
    main()
