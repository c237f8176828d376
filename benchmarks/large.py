"""Benchmarks time and memory of long texts: reading, caching, training.

    python benchmarks/large.py            from 10^6 to 3 x 10^8 words (about 10 minutes;
                                          3.5 GB of disk in --folder)
    python benchmarks/large.py --only N   one length, added to the earlier results
    python benchmarks/large.py --tables   writes tables and picture again
    python benchmarks/large.py --quick    up to 10^7 words (a minute; writes nothing)

The texts are generated: words by Zipf's law, p(k) proportional to log(1 + 1/k), from a
vocabulary of 800,000, in lines of 25.  Each text is read in new processes: once when
its ids are made, once when they are mapped from the cache, and once without the cache.
The last columns are a training run of `WINDOWS` windows, whose streams are spread over
the text.  Memory is the peak of the process (VmHWM), including pages of the mapped
file.  large_vocabulary.py measures large vocabularies.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import rnnlm

import chainer
from chainer import links as L
import numpy

import common
import costs
import report_pictures

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, 'large.json')
DOCUMENT = os.path.join(HERE, os.pardir, 'docs', 'scaling.md')
LENGTHS = 10 ** 6, 10 ** 7, 3 * 10 ** 7, 10 ** 8, 3 * 10 ** 8
V = 800000
LINE = 25
WINDOWS = 200

# Vocabulary size in the training run, so that the model stays small.
LIMIT = 10000


def words_of(n):
    """Returns n distinct words made of syllables; frequent words are shorter."""
    syllables = [a + b for a in 'tnsrhldcmfpgwybvkxjq' for b in 'eaoiu']
    found = []
    for k in range(n):
        word = ''
        while True:
            k, last = divmod(k, len(syllables))
            word = syllables[last] + word
            if not k:
                break
            k -= 1
        found.append(word)
    return found


def write_text(path, n, seed=0):
    """Writes a text of n words, not counting ends of lines."""
    words = numpy.array(words_of(V), object)
    random = numpy.random.RandomState(seed)
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        for start in range(0, n, 10 ** 6):
            ranks = numpy.exp(random.rand(min(10 ** 6, n - start)) * numpy.log(V + 1))
            some = words[ranks.astype(int) - 1].tolist()
            f.writelines(' '.join(some[k:k + LINE]) + '\n'
                         for k in range(0, len(some), LINE))


def measure(path, way):
    """Measures seconds and bytes, in a process of its own."""
    start = time.perf_counter()
    before = common.memory('VmRSS')
    limit = LIMIT if way == 'train' else None
    corpus = rnnlm.load_corpus(path, vocab_limit=limit, cache=way != 'memory')
    found = {'seconds': time.perf_counter() - start, 'before': before,
             'vocabulary': len(corpus.vocabulary),
             'tokens': sum(map(len, (corpus.train, corpus.valid, corpus.test)))}
    if way == 'train':
        found['words/s'] = train(corpus)
    return dict(found, most=common.memory('VmHWM'))


def train(corpus):
    """Returns words per second in training of the small model."""
    model = L.Classifier(rnnlm.RNNForLM(len(corpus.vocabulary), 200))
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5.0))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(corpus.train, 20), optimizer, 35, -1)
    updater.update()
    start = time.perf_counter()
    for _ in range(WINDOWS):
        updater.update()
    return 20 * 35 * WINDOWS / (time.perf_counter() - start)


def in_a_process(path, way, cache):
    done = subprocess.run(
        [sys.executable, __file__, '--way', way, '--text', path],
        env=dict(os.environ, XDG_CACHE_HOME=cache), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def measure_text(n, folder):
    """Measures a row of the table."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = os.path.join(place, 'text')
        write_text(path, n)
        row = {'words': n, 'bytes': os.path.getsize(path)}
        for name, way in (('first', 'cache'), ('second', 'cache'),
                          ('without', 'memory'), ('training', 'train')):
            row[name] = in_a_process(path, way, place)
            print(f'{n:,} words, {name}: {row[name]}', flush=True)
    return row


def tables(rows):
    """Returns a Markdown table of the results of `measure_text`."""
    def cells(row, name):
        found = row.get(name)
        if found is None:  # it was not measured
            return [''] * (3 if name == 'first' else 2)
        speed = [common.number(found['tokens'] / found['seconds'])]
        time = ([common.number(found['words/s'])] if name == 'training' else
                [common.number(found['seconds'], 2), *speed * (name == 'first')])
        return [*time, common.number(found['most'] / 2 ** 20)]

    return common.table(
        ['words', 'text, MB', 'vocabulary', 'first start, s', 'words/s', 'MiB',
         'second start, s', 'MiB', '`cache=False`, s', 'MiB',
         'training, words/s', 'MiB'],
        [[common.number(row['words']), common.number(row['bytes'] / 1e6),
          common.number(row['first']['vocabulary']),
          *(cell for name in ('first', 'second', 'without', 'training')
            for cell in cells(row, name))]
         for row in sorted(rows.values(), key=lambda row: row['words'])])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='up to 10^7 words')
    parser.add_argument(
        '--folder', help='parent of the temporary folder for texts and cache')
    parser.add_argument(
        '--tables', action='store_true',
        help='write the tables again, from large.json')
    parser.add_argument('--only', type=float, metavar='N', help='one length')
    parser.add_argument('--way', help=argparse.SUPPRESS)
    parser.add_argument('--text', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.text, args.way)))
        return
    machine = None if args.tables else common.begin(
        'benchmarks/large.py', not args.quick)
    lengths = [n for n in LENGTHS if n <= 10 ** 7] if args.quick else (
        [int(args.only)] if args.only else LENGTHS)
    rows = {} if args.quick else common.kept(KEPT)
    for n in [] if args.tables else lengths:
        rows[str(n)] = dict(measure_text(n, args.folder), machine=machine)
    print(tables(rows))
    if not args.quick:
        common.keep(KEPT, rows)
        write(rows)


def write(rows):
    """Writes the tables into RESULTS.md and docs/scaling.md, and the picture."""
    line = common.machine_line(next(iter(rows.values()))['machine'])
    common.replace('texts', 'large.py', (
        f'## Long texts\n\n{line}. By `python benchmarks/large.py`; each measurement '
        'in a new process, without the time of the import.\n\n') + common.picture(
            'lengths.png', 'Time until a text is ready and peak memory by the length '
            'of the text') + '\n\n' + tables(rows))
    common.replace('billion', 'large.py', costs.billion_table(), DOCUMENT)
    report_pictures.draw(report_pictures.lengths, rows)


if __name__ == '__main__':
    main()
