"""Texts and vocabularies that changed since a run read them."""
import json
import os
import re
import shutil

import pytest
from test_own_texts import (  # noqa: F401
    LINES, described, every_text_is_long, run, story, trained)

import rnnlm

OTHER = LINES * 60


def changed_ways(text):
    """The same text with two words exchanged, with a line more, and in other words."""
    words = text.split(' ')
    words[30], words[31] = words[31], words[30]
    return [' '.join(words), text + LINES, text.replace('cat', 'cow')]


def rewrite(path, name, value):
    """Changes an entry of a JSON file; deletes it for None."""
    with open(path) as f:
        found = json.load(f)
    if value is None:
        del found[name]
    else:
        found[name] = value
    with open(path, 'w') as f:
        json.dump(found, f)


@pytest.mark.parametrize('long', [False, True])
@pytest.mark.parametrize('options', [
    [], ['--tokens', 'char'], ['--vocab-limit', '5'], ['--sentences'],
    ['--vocab', 'words.txt']], ids=' '.join)
def test_a_text_that_changed_is_only_evaluated_if_it_is_given(
        run, story, write, options, long, request):  # noqa: F811
    if long:
        request.getfixturevalue('every_text_is_long')
    write('words.txt', 'the\ncat\nsat\n<unk>\n')
    trained(run, story, *options)
    before = run('evaluate')
    with open(story) as f:
        text = f.read()
    for other in changed_ways(text):
        write('story.txt', other)
        for command in ['evaluate'], ['interpolate', 'result', 'result']:
            err = run(*command, status=2)
            assert '--corpus: story.txt: expected the text that result was' in err
            assert 'with --corpus' in err
            assert 'perplexity' in run(*command, '--corpus', 'story.txt')
            assert 'perplexity' in run(
                *command, '--text', 'story.txt', *['--weight', '.5'] * (
                    command[0] != 'evaluate'))
    write('story.txt', text)
    assert run('evaluate') == before
    os.rename('story.txt', 'moved.txt')
    assert run('evaluate', '--corpus', 'moved.txt') == before


def test_a_folder_or_files_that_changed(run, write):  # noqa: F811
    paths = [write(f'texts/{name}.txt', LINES * 30) for name in 'ab']
    for corpus in [os.path.dirname(paths[0])], paths:
        run('train', '--corpus', *corpus, '-u', '4', '-b', '4', '-e', '1',
            '--overwrite')
        run('evaluate')
        write('texts/a.txt', OTHER)
        assert 'training tokens instead of' in run('evaluate', status=2)
        write('texts/a.txt', LINES * 30)


def test_the_demo_has_not_changed(run):  # noqa: F811
    text = rnnlm.load_corpus('demo')
    recipe = rnnlm.Recipe(n_units=4, batch_size=20, bprop_len=20, epochs=1)
    rnnlm.train(text, recipe, out='result', seed=0)
    assert 'perplexity' in run('evaluate')
    rewrite('result/run.json', 'source', None)  # as of an old version
    assert 'perplexity' in run('evaluate')
    rewrite('result/run.json', 'corpus', 'other')
    for command in ['evaluate'], ['train', '--resume']:
        assert '--corpus: expected a corpus, found none, and run.json' in run(
            *command, status=2)
    os.unlink('result/run.json')
    assert '--corpus: expected the text of the run, found none, and no run.json' in (
        run('train', '--resume', status=2))


def test_a_run_without_a_hash_is_compared_by_length(run, story, write):  # noqa: F811
    trained(run, story)
    rewrite('result/run.json', 'text', None)
    with open(story) as f:
        exchanged, longer, _ = changed_ways(f.read())
    write('story.txt', exchanged)
    assert 'perplexity' in run('evaluate')
    write('story.txt', longer)
    assert 'training tokens instead of' in run('evaluate', status=2)


def test_a_vocabulary_is_not_replaced_by_one_of_its_size(run, write):  # noqa: F811
    text = write('text.txt', OTHER)
    words = ['the', 'cat', 'dog', 'sat', 'saw', 'on', 'mat', '.', '<eos>']
    write('words.txt', '\n'.join(words))
    trained(run, text, '--vocab', 'words.txt')
    before = run('evaluate')
    shutil.move('result/vocabulary.json', 'vocabulary.json')
    assert run('evaluate') == before
    write('words.txt', '\n'.join(words[::-1]))
    for args in [], ['--corpus', text]:
        assert re.search('expected the vocabulary of result, 9 tokens, found another '
                         'one .*restore vocabulary.json', run(
                             'evaluate', *args, status=2))
    shutil.move('vocabulary.json', 'result/vocabulary.json')
    assert run('evaluate') == before


def test_a_vocabulary_is_not_overwritten(run, story):  # noqa: F811
    trained(run, story)
    args = ['train', '--corpus', story, '--overwrite', '--vocab']
    for path in 'result/vocabulary.json', 'result/run.json':
        err = run(*args, path, status=2)
        assert f'{path}: expected a file that may be overwritten, found the voc' in err


def test_dynamic_evaluation_skips_unknown_words_too(run, write):  # noqa: F811
    trained(run, write('closed.txt', LINES * 20))
    other = write('other.txt', 'the zebra saw the cat .\n' * 2)
    out = run('evaluate', '--text', other, '--dynamic', 'sgd')
    assert out.count(', 14.3% unknown words skipped: the vocabulary has no') == 2
