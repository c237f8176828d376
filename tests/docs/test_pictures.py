"""The pictures in docs/ show what is kept as JSON, and each stands on a page."""
import copy
import importlib
import json
import os
import re
import runpy
import sys

from helpers import ROOT
import numpy
import pytest

pytest.importorskip('matplotlib', reason='needs the extra plot')

DOCS = os.path.join(ROOT, 'docs')
NAMES = sorted(name for name in os.listdir(DOCS) if name.endswith('.png'))
SCRIPTS = {'window.py': 'window.png', 'layouts.py': 'layouts.png',
           'curve.py': 'perplexity.png'}
PAGES = [os.path.join(ROOT, 'README.md')] + [
    os.path.join(DOCS, name) for name in sorted(os.listdir(DOCS))
    if name.endswith('.md')]


@pytest.fixture
def report(monkeypatch, tmp_path):
    """report_pictures.py, which draws into `tmp_path`."""
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.syspath_prepend(os.path.join(ROOT, 'benchmarks'))
    found = importlib.import_module('report_pictures')
    monkeypatch.setattr(found.pictures, 'FOLDER', str(tmp_path))
    return found


@pytest.fixture
def drawn(report, monkeypatch):
    """{name: texts and lines} of each picture that is drawn."""
    found = {}

    def save(figure, name):
        found[name] = [text.get_text() for text in figure.findobj(
            lambda artist: hasattr(artist, 'get_text')) if text.get_text()]

    monkeypatch.setattr(report.pictures, 'save', save)
    return found


def kept(name):
    with open(os.path.join(ROOT, 'benchmarks', name), encoding='utf-8') as f:
        return json.load(f)


def blocks(path):
    """The size of a picture, and the mean grey of each block of 20 x 20 pixels."""
    image = pytest.importorskip('PIL.Image').open(path)
    small = image.convert('L').resize((image.width // 20, image.height // 20), 4)
    return image.size, numpy.asarray(small, 'f')  # 4 takes the mean


def assert_alike(name, other):
    """Versions of matplotlib from 3.9 to 3.11 differ by up to 84; a point or bar that
    is moved by a few percent makes more than 120."""
    size, expected = blocks(os.path.join(DOCS, name))
    found_size, found = blocks(other)
    assert size == found_size
    assert abs(expected - found).max() < 100


def test_pictures_of_the_benchmarks_are_those_of_what_is_kept(report, tmp_path, capsys):
    report.main()
    found = sorted(os.listdir(tmp_path))
    assert sorted({*found, *SCRIPTS.values()}) == NAMES
    for name in found:
        assert_alike(name, tmp_path / name)
    first = {name: (tmp_path / name).read_bytes() for name in found}
    assert capsys.readouterr().out.count('drawn') == len(found)
    for name in found:
        os.unlink(tmp_path / name)
    report.main()
    assert first == {name: (tmp_path / name).read_bytes() for name in found}
    capsys.readouterr()
    report.main()  # nothing new, so nothing is written
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('script', SCRIPTS)
def test_pictures_of_the_docs_are_those_of_their_scripts(
        report, tmp_path, monkeypatch, script):
    if script == 'curve.py':
        with open(os.path.join(DOCS, 'curve.json'), encoding='utf-8') as f:
            (tmp_path / 'curve.json').write_text(f.read())
    monkeypatch.setattr(sys, 'argv', [script, '--draw'])
    runpy.run_path(os.path.join(DOCS, script), run_name='__main__')
    assert_alike(SCRIPTS[script], tmp_path / SCRIPTS[script])


@pytest.mark.parametrize('name', NAMES)
def test_a_picture_is_small_and_on_white(name):
    path = os.path.join(DOCS, name)
    assert os.path.getsize(path) < 100_000
    with open(path, 'rb') as f:
        data = f.read()
    assert b'tRNS' not in data and b'tEXt' not in data and b'tIME' not in data
    image = pytest.importorskip('PIL.Image').open(path)
    assert image.mode == 'P' and image.width == 1360
    assert image.convert('RGB').getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize('name', NAMES)
def test_a_picture_stands_on_a_page_with_words_in_its_place(name):
    shown = []
    for page in PAGES:
        with open(page, encoding='utf-8') as f:
            shown += re.findall(r'!\[([^]]*)\]\((?:docs/)?' + name + r'\)', f.read())
    assert shown and all(len(words) > 40 for words in shown)


def test_all_recipes_of_the_file_are_drawn(report, drawn):
    results = kept('ptb.json')
    run = next(iter(results['small']['runs'].values()))
    results['laptop'] = {'runs': {'0': dict(run, test=90.0), '3': dict(run, test=92.0)}}
    results['medium'] = {'runs': {'0': {
        'finished': False, 'minutes': 9, 'log': run['log'][:2]}}}
    results['large'] = {'runs': {'0': {'finished': False, 'minutes': 0, 'log': []}}}
    results['word_language_model'] = {
        '--nhid 650 --tied': {'runs': {'1111': dict(run, test=87.2)}},
        '--nhid 9': {'runs': {'7': dict(run, test=99.9)}}}
    del results['word_language_model']['--nhid 9']['runs']['7']['device']
    report.ptb(results)
    texts = drawn['ptb.png']
    assert 'laptop (n = 2): test 91.0 (90.0 to 92.0)' in texts
    assert 'medium (n = 0), incomplete' in texts
    assert 'paper, medium: 86.2' in texts
    assert 'word_language_model (n = 1): test 87.2\n--nhid 650 --tied' in texts
    part = report.report_ptb.part(results)
    assert '| word_language_model --nhid 9 |  |  | 1 |' in part
    assert not any('large' in text for text in texts)


def test_minutes_are_those_of_the_log_or_else_alike_for_all_epochs(report):
    log = [{'epoch': k, 'val_perplexity': 10.0 - k} for k in (1, 2)]
    assert report.minutes_of({'minutes': 8, 'log': log}) == [(4, 9), (8, 8)]
    log = [dict(entry, elapsed_time=60 * entry['epoch'] ** 2) for entry in log]
    assert report.minutes_of({'minutes': 8, 'log': log}) == [(1, 9), (4, 8)]


def test_all_programs_that_were_measured_are_drawn(report, drawn):
    results = copy.deepcopy(kept('cpu.json'))
    for row in results['training']:
        for way in 'torch bfloat16', 'torch compiled':
            row['words/s'].pop(way, None)
    results['training'][0]['words/s'].update(
        {'torch bfloat16': 12345.0, 'torch compiled': 6789.0})
    report.cpu(results)
    texts = drawn['cpu.png']
    once = texts.count('PyTorch, bfloat16')
    assert texts.count('rnnlm') == texts.count('Chainer') == 3 * once > 0
    assert texts.count('PyTorch, compiled') == once
    assert {'12,345 words/s', '6,789 words/s'} <= set(texts)


def test_what_was_not_measured_is_not_drawn(report, drawn):
    figures = {n: {'full': {'ms': 5.0, 'GB': 1.0}} for n in ('100', '1000')}
    report.vocabulary({'figures': figures})
    assert 'rnnlm, full softmax' in drawn['vocabulary.png']
    assert not any('PyTorch' in text for text in drawn['vocabulary.png'])
    rows = kept('large.json')
    for row in rows.values():
        row.pop('without', None)
    report.lengths(rows)
    assert 'without the cache' not in drawn['lengths.png']
    results = kept('scaling.json')
    results['sizes'].pop('large')
    report.scaling(results)
    assert 'Predicted, not measured: 8 GPUs' in drawn['scaling.png']


def test_labels_of_close_lines_do_not_overlap(report):
    with report.pictures.new_figure(height=4) as figure:
        axes = figure.add_subplot()
        axes.set(yscale='log', ylim=(50, 500))
        report.pictures.beside(axes, [(86, 'medium'), (82, 'large'), (120, 'small')])
        figure.canvas.draw()
        boxes = sorted((text.get_window_extent() for text in axes.texts),
                       key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:]))


def test_without_matplotlib_a_script_goes_on(report, monkeypatch, capsys):
    monkeypatch.setattr(report.plotting, 'available', lambda: False)
    report.main()
    assert 'the picture of cpu is not drawn: matplotlib' in capsys.readouterr().out
