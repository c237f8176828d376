"""Benchmarks time and memory of long texts: reading, caching, training.

    python benchmarks/large.py            from 10^6 to 3 x 10^8 words (about 25 minutes;
                                          4.5 GB of disk in --folder)
    python benchmarks/large.py --only N   one length, added to the earlier results
    python benchmarks/large.py --tables   writes tables and picture again
    python benchmarks/large.py --quick    up to 10^7 words (a minute; writes nothing)

The texts are generated: words by Zipf's law, p(k) proportional to log(1 + 1/k), from a
vocabulary of 800,000, in lines of 25.  Each text is read in new processes: once when
its ids are made, once when they are mapped from the cache, and once without the cache.
The last columns are a training run of the small model for --minutes, whose streams are
spread over the text; docs/scaling.md has what follows for a billion words.  Memory is
the peak of the process (VmHWM), including pages of the mapped file.
large_vocabulary.py measures large vocabularies.
"""
import argparse
import json
import os
import shutil
import signal
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

# Minutes of the training run, and those of the longest text.
MINUTES, LONG = 0.5, 5.0

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
            if start and start % (3 * 10 ** 7) == 0:
                print(f'{n:,} words, written: {start:,}', flush=True)
            ranks = numpy.exp(random.rand(min(10 ** 6, n - start)) * numpy.log(V + 1))
            some = words[ranks.astype(int) - 1].tolist()
            f.writelines(' '.join(some[k:k + LINE]) + '\n'
                         for k in range(0, len(some), LINE))


def measure(path, way, minutes):
    """Measures seconds and bytes, in a process of its own."""
    start = time.perf_counter()
    before = common.memory('VmRSS')
    limit = LIMIT if way == 'train' else None
    corpus = rnnlm.load_corpus(path, vocab_limit=limit, cache=way != 'memory')
    found = {'seconds': time.perf_counter() - start, 'before': before,
             'vocabulary': len(corpus.vocabulary),
             'tokens': sum(map(len, (corpus.train, corpus.valid, corpus.test)))}
    if way == 'train':
        found.update(train(corpus, minutes))
    return dict(found, most=common.memory('VmHWM'))


def train(corpus, minutes):
    """Measures a training run of the small model: words per second and minutes."""
    model = L.Classifier(rnnlm.RNNForLM(len(corpus.vocabulary), 200))
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5.0))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(corpus.train, 20), optimizer, 35, -1)
    updater.update()
    start = time.perf_counter()
    shown, windows, passed = 60, 0, 0.0
    while passed < 60 * minutes:
        updater.update()
        windows, passed = windows + 1, time.perf_counter() - start
        if passed > shown:  # standard output is for the figures
            shown += 60
            print(f'{passed / 60:.0f} of {minutes:g} minutes of training',
                  file=sys.stderr, flush=True)
    return {'words/s': 20 * 35 * windows / passed, 'minutes': passed / 60}


def in_a_process(path, way, cache, minutes):
    done = subprocess.run(
        [sys.executable, __file__, '--way', way, '--text', path,
         '--minutes', str(minutes)],
        env=dict(os.environ, XDG_CACHE_HOME=cache), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def bytes_in(folder):
    """Returns the total size of the files in a folder."""
    return sum(entry.stat().st_size for entry in os.scandir(folder)
               if entry.is_file())


def measure_text(n, folder, minutes):
    """Measures a row of the table."""
    if minutes is None:
        minutes = LONG if n >= LENGTHS[-1] else MINUTES
    free, needed = shutil.disk_usage(folder or tempfile.gettempdir()).free, 15 * n
    if free < needed:
        sys.exit(f'error: {n:,} words take {needed:,} bytes of disk, and {free:,} are '
                 'free; give another --folder')
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = os.path.join(place, 'text')
        write_text(path, n)
        row = {'words': n, 'bytes': os.path.getsize(path)}
        for name, way in (('first', 'cache'), ('second', 'cache'),
                          ('without', 'memory'), ('training', 'train')):
            row[name] = in_a_process(path, way, place, minutes)
            if name == 'first':
                row['cache'] = bytes_in(os.path.join(place, 'rnnlm'))
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
    parser.add_argument(
        '--minutes', type=float, help='of each training run; by default '
        f'{MINUTES:g}, and {LONG:g} with the longest text')
    parser.add_argument('--way', help=argparse.SUPPRESS)
    parser.add_argument('--text', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.text, args.way, args.minutes)))
        return
    # On SIGTERM the script exits normally, so that temporary files are deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    machine = None if args.tables else common.begin(
        'benchmarks/large.py', not args.quick)
    lengths = [n for n in LENGTHS if n <= 10 ** 7] if args.quick else (
        [int(args.only)] if args.only else LENGTHS)
    rows = {} if args.quick else common.kept(KEPT)
    for n in [] if args.tables else lengths:
        rows[str(n)] = dict(
            measure_text(n, args.folder, args.minutes), machine=machine)
        if not args.quick:
            common.keep(KEPT, rows)
    print(tables(rows))
    if not args.quick:
        write(rows)


def write(rows):
    """Writes the tables into RESULTS.md and docs/scaling.md, and the picture."""
    line = common.machine_line(next(iter(rows.values()))['machine'])
    common.replace('texts', 'large.py', (
        f'## Long texts\n\n{line}. By `python benchmarks/large.py`; each measurement '
        'in a new process, without the time of the import.\n\n') + common.picture(
            'lengths.png', 'Time until a text is ready and peak memory by the length '
            'of the text') + '\n\n' + tables(rows))
    common.replace('billion', 'large.py',
                   costs.billion_table() + '\n' + checked(rows), DOCUMENT)
    report_pictures.draw(report_pictures.lengths, rows)


def checked(rows):
    """Describes the longest text trained on, scaled to a billion words; '' if none."""
    found = [row for row in rows.values() if 'training' in row and 'cache' in row]
    if not found:
        return ''
    row = max(found, key=lambda row: row['words'])
    first, training, factor = row['first'], row['training'], 1e9 / row['words']
    tokens, rate, GB, MiB = first['tokens'], training['words/s'], 1e9, 2 ** 20
    return '\n'.join([
        f'Checked with a text of {row["words"]:,} words, {tokens:,} tokens, by `python '
        f'benchmarks/large.py`: {row["bytes"] / GB:.2f} GB of text and '
        f'{row["cache"] / GB:.2f} GB in the cache folder; the first pass took '
        f'{first["seconds"]:.0f} s and {first["most"] / MiB:.0f} MiB, the second start '
        f'{row["second"]["seconds"]:.1f} s. The small model, vocabulary '
        f'{training["vocabulary"]:,}, trained for {training["minutes"]:.1f} minutes at '
        f'{rate:,.0f} words/s in {training["most"] / MiB:.0f} MiB. In proportion, a '
        f'billion words take {row["bytes"] * factor / GB:.1f} GB of text, '
        f'{row["cache"] * factor / GB:.1f} GB of cache, '
        f'{first["seconds"] * factor / 60:.1f} minutes for the first pass, and '
        f'{tokens * factor / rate / 86400:.1f} days per epoch.', ''])


if __name__ == '__main__':
    main()
