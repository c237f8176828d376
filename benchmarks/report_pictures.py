"""The pictures of the benchmarks in docs/, from what is kept as JSON.

    python benchmarks/report_pictures.py     all of them, in seconds; measures nothing

Each script draws its own when it has measured.
"""
import itertools
import os
import sys
import textwrap

import common
import costs
import report_ptb

from rnnlm.training import plotting

sys.path.insert(0, os.path.join(common.HERE, os.pardir, 'docs'))

import pictures  # noqa: E402

# Bars of the CPU picture, from the top: way of cpu.py, name of the program.
WAYS = {'fast': 'rnnlm', 'window': 'rnnlm, NumPy only', 'official': 'Chainer',
        'torch': 'PyTorch, float32', 'torch bfloat16': 'PyTorch, bfloat16',
        'torch compiled': 'PyTorch, compiled'}


def draw(picture, results):
    """Draws a picture of results, if matplotlib can be imported."""
    if plotting.available():
        picture(results)
    else:
        print(f'the picture of {picture.__name__} is not drawn: matplotlib cannot be '
              'imported')


def cpu(results):
    """cpu.png: words a second of each program, as a share of peak SGEMM speed."""
    rows = results['training']
    ways = [way for way in WAYS if any(way in row['words/s'] for row in rows)]
    bars = [(row, way) for row in rows for way in ways if way in row['words/s']]
    with pictures.new_figure(height=0.7 + 0.27 * len(bars) + 0.5 * len(rows)) as figure:
        axes = figure.add_subplot()
        at, names, most = 0.0, [], 100.0
        for row in rows:
            axes.text(0, at, f'{row["size"]}, 2 × {row["units"]:,} units: 100% is '
                      f'{row["floor words/s"]:,.0f} words/s', va='center',
                      fontweight='bold', bbox=pictures.ON_WHITE)
            at += 1
            for way in (way for way in ways if way in row['words/s']):
                words = row['words/s'][way]
                share = 100 * row['shares'][way]
                axes.barh(at, share, 0.78, **pictures.BARS[WAYS[way]])
                axes.text(share + 1.5, at, f'{words:,.0f} words/s', va='center',
                          bbox=pictures.ON_WHITE)
                names.append((at, WAYS[way]))
                most = max(most, share)
                at += 1
            at += 0.5
        axes.set_yticks(*zip(*names))
        axes.set_ylim(at - 0.7, -0.7)
        axes.set_xlim(0, most + 12)
        axes.set_xticks(range(0, int(most) + 1, 20))
        axes.axvline(100, **pictures.REFERENCE)
        pictures.framed(axes, 'x')
        axes.tick_params(axis='y', length=0)
        axes.spines['left'].set_color(pictures.INK)
        axes.set_xlabel('training speed, % of peak SGEMM speed')
        pictures.save(figure, 'cpu.png')


# Bars of the GPU picture: name of the program, ways of gpu.py of which the fastest
# counts.
GPU_WAYS = {'rnnlm': ('persistent', 'graph'),
            'PyTorch, float32': ('torch graph', 'torch'),
            'rnnlm, TF32': ('persistent tf32', 'graph tf32'),
            'PyTorch, TF32': ('torch graph tf32', 'torch tf32'),
            'Chainer': ('official',)}


def gpu(results):
    """gpu.png: words a second of each program on a GPU, a panel for each size."""
    rows = {size: row['words/s'] for size, row in results['training'].items()
            if row.get('words/s')}
    with pictures.new_figure(height=2.6) as figure:
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, (size, found) in zip(panels, rows.items()):
            speeds = {name: max((found[way] for way in ways if way in found), default=0)
                      for name, ways in GPU_WAYS.items()}
            most = max(speeds.values())
            for k, (name, words) in enumerate(speeds.items()):
                axes.barh(k, words / 1000, 0.78, **pictures.BARS[name])
                axes.text((words + 0.03 * most) / 1000, k, f'{words / 1000:,.0f}',
                          va='center', bbox=pictures.ON_WHITE)
            axes.set_yticks(range(len(speeds)), list(speeds) if axes is panels[0]
                            else [''] * len(speeds))
            axes.invert_yaxis()
            axes.set_xlim(0, 1.25 * most / 1000)
            axes.set_title(f'{size}: 2 × {costs.models.SIZES[size]["n"]:,}')
            axes.set_xlabel('thousand words/s')
            axes.tick_params(axis='y', length=0)
            pictures.framed(axes, 'x')
        pictures.save(figure, 'gpu.png')


def ptb(results):
    """ptb.png: validation perplexity of each recipe against the minutes of training."""
    names = [name for name in report_ptb.recipes(results) if any(
        map(minutes_of, report_ptb.runs_of(results, name).values()))]
    labels = [label_of(report_ptb.runs_of(results, name).values(), name)
              for name in names]
    rows = sum(1 + label.count('\n') for label in labels)
    with pictures.new_figure(height=3.9 + 0.25 * rows) as figure:
        axes, papers = figure.add_subplot(), []
        for style, name, label in zip(
                itertools.cycle(pictures.LINES), names, labels):
            for run in report_ptb.uninterrupted(
                    report_ptb.runs_of(results, name).values()):
                curve = minutes_of(run)
                if curve:
                    axes.plot(*zip(*curve), **style, label=label,
                              markevery=max(len(curve) // 15, 1))
                    label = None
            if name in report_ptb.PAPER:
                papers.append((report_ptb.PAPER[name][0], name))
                axes.axhline(papers[-1][0], **{**pictures.REFERENCE,
                                               'color': style['color']})
        for which in 'x', 'y':
            pictures.log_axis(axes, which)
        pictures.beside(axes, papers)
        axes.set_xlabel('minutes of training (log scale)')
        axes.set_ylabel('validation perplexity (log scale)')
        axes.legend(loc='lower left', bbox_to_anchor=(0, 1.0))
        pictures.save(figure, 'ptb.png')


def label_of(runs, name):
    """The name of a recipe, with the number of runs and their test perplexity."""
    tests = [run['test'] for run in runs if run['finished']]
    gpu = ' on a GPU' if any(report_ptb.on_gpu(run) for run in runs) else ''
    name, _, options = name.partition(' ')  # of another program, or the precision
    first = f'{name}{gpu} (n = {len(tests)})' + (
        f': test {report_ptb.spread(tests)}' if tests else ', incomplete')
    return '\n'.join([first, *textwrap.wrap(options, 60)])


def minutes_of(run):
    """list: (minutes, validation perplexity) of each epoch of a run.

    Where the log has no times, all epochs count as equally long.
    """
    log = [entry for entry in run['log'] if 'val_perplexity' in entry]
    return [(entry['elapsed_time'] / 60 if 'elapsed_time' in entry else
             run['minutes'] * entry['epoch'] / log[-1]['epoch'],
             entry['val_perplexity']) for entry in log]


def vocabulary(results):
    """vocabulary.png: time and memory of a training window against the vocabulary."""
    series = (('full', 'rnnlm, full softmax', dict(pictures.LINES[0])),
              ('torch-full', 'PyTorch, full softmax', dict(pictures.LINES[1])),
              ('adaptive', 'rnnlm, adaptive softmax',
               dict(pictures.LINES[0], markerfacecolor='white')),
              ('torch-adaptive', 'PyTorch, adaptive softmax',
               dict(pictures.LINES[1], markerfacecolor='white')))
    figures = sorted((int(n), found) for n, found in results['figures'].items())
    with pictures.new_figure(height=6.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, key, label, title in zip(
                panels, ('ms', 'GB'), ('milliseconds (log scale)', 'GB (log scale)'),
                ('Time of a training window of 20 × 35 words', 'Peak memory')):
            for system, name, style in series:
                points = [(n, found[system][key]) for n, found in figures
                          if found.get(system)]
                if points:
                    axes.plot(*zip(*points), **style, label=name)
            pictures.log_axis(axes, 'y')
            axes.set_ylabel(label)
            axes.set_title(title)
        panels[0].set_xscale('log')
        ticks = [n for n, _ in figures]
        panels[1].set_xticks(ticks, [f'{n:,}' for n in ticks])
        panels[1].minorticks_off()
        panels[0].legend()
        panels[1].set_xlabel('words in the vocabulary (log scale)')
        pictures.save(figure, 'vocabulary.png')


def lengths(rows):
    """lengths.png: seconds until a text is ready, and memory, against its length."""
    series = (('first', 'first start: read and cached', pictures.LINES[0]),
              ('second', 'later starts: mapped', pictures.LINES[1]),
              ('without', 'without the cache', pictures.LINES[2]),
              ('training', 'training (memory only)', pictures.LINES[3]))
    found = sorted(rows.values(), key=lambda row: row['words'])
    with pictures.new_figure(height=6.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for name, label, style in series:
            measured = [row for row in found if row.get(name)]
            if not measured:
                continue
            words = [row['words'] for row in measured]
            if name != 'training':
                panels[0].plot(words, [row[name]['seconds'] for row in measured],
                               **style, label=label)
            panels[1].plot(words, [row[name]['most'] / 2 ** 20 for row in measured],
                           **style, label=label)
        panels[0].set_xscale('log')
        ticks = [row['words'] for row in found]
        panels[1].set_xticks(ticks, [f'{n / 1e6:g} M' for n in ticks])
        panels[1].minorticks_off()
        pictures.log_axis(panels[0], 'y')
        panels[0].set_ylabel('seconds (log scale)')
        panels[0].set_title('Time to start')
        panels[1].set_ylim(bottom=0)
        panels[1].set_ylabel('MiB')
        panels[1].set_title('Peak memory')
        panels[1].set_xlabel('words in the text (log scale)')
        panels[0].legend(handles=panels[1].get_lines())
        pictures.save(figure, 'lengths.png')


def scaling(results):
    """scaling.png: how many times as fast two processes are as one, and the model."""
    fitted = costs.fit(results, costs.V, costs.B)
    with pictures.new_figure(height=6.6) as figure:
        measured, predicted = figure.subplots(
            2, 1, gridspec_kw={'height_ratios': [1, 1.5]})
        for k, (size, found) in enumerate(results['sizes'].items()):
            measured.barh(k, found['ratio'], 0.6, **pictures.BARS['rnnlm'])
            measured.text(found['ratio'] - 0.03, k, f'{found["ratio"]:.2f}', ha='right',
                          va='center', color='white', fontweight='bold')
            model = found['1'] / costs.seconds(fitted, size, costs.V, costs.B, 2)
            measured.plot([model] * 2, [k - 0.4, k + 0.4], color=pictures.ORANGE,
                          linewidth=3)
            if k == 0:
                measured.text(model, -0.5, 'cost model', ha='right', va='bottom')
        measured.axvline(2, **pictures.REFERENCE)
        measured.text(2, -0.5, 'ideal', ha='right', va='bottom', bbox=pictures.ON_WHITE)
        measured.set_yticks(range(len(results['sizes'])), list(results['sizes']))
        measured.set_ylim(len(results['sizes']) - 0.5, -0.95)
        measured.set_xlim(0, 2.1)
        measured.set_xticks([0, 0.5, 1, 1.5, 2])
        measured.set_xlabel(f'times as fast as one process, batch {costs.B}')
        measured.set_title('Measured: two processes on a CPU')
        pictures.framed(measured, 'x')
        draw_predicted(predicted)
        pictures.save(figure, 'scaling.png')


def draw_predicted(axes, gpus=8):
    """How many times as fast some GPUs would be as one, by the cost model."""
    for style, size in zip(pictures.LINES, costs.models.SIZES):
        axes.plot(costs.BATCHES, [
            costs.gpu_seconds(size, costs.V, batch, 1)
            / costs.gpu_seconds(size, costs.V, batch, gpus)
            for batch in costs.BATCHES], **style, label=size)
    axes.axhline(gpus, label='ideal', **pictures.REFERENCE)
    axes.set_ylim(0, 1.05 * gpus)
    axes.set_xscale('log')
    axes.set_xticks(costs.BATCHES, [f'{batch:,}' for batch in costs.BATCHES])
    axes.minorticks_off()
    axes.set_xlabel('batch, of all GPUs together (log scale)')
    axes.set_ylabel('times as fast as one GPU')
    axes.set_title(f'Predicted, not measured: {gpus} GPUs')
    axes.legend()


# What is drawn from each file.
KEPT = {'cpu.json': cpu, 'gpu.json': gpu, 'ptb.json': ptb,
        'large_vocabulary.json': vocabulary, 'large.json': lengths,
        'scaling.json': scaling}


def main():
    for name, picture in KEPT.items():
        results = common.kept(os.path.join(common.HERE, name))
        if results:
            draw(picture, results)


if __name__ == '__main__':
    main()
