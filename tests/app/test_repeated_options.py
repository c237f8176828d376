"""Options of the text and its vocabulary that override those of --config."""
import os

import pytest
from test_changed_texts import changed_ways, rewrite
from test_own_texts import described, run, story, trained  # noqa: F401

import rnnlm


@pytest.fixture
def first(run, story):  # noqa: F811
    """A run with a limit, and one that started from it."""
    trained(run, story, '--vocab-limit', '7', '--out', 'first')
    run('train', '--init-from', 'first', '-e', '1', '-b', '4', '--out', 'second')
    return story


WORDS = ['--vocab', 'words.txt']


@pytest.mark.parametrize('args, message', [
    (['second', *WORDS], '--vocab cannot be combined with second, whose run started '
     'from a model: the vocabulary is that of the model'),
    (['second', '--vocab-limit', '5'], '--vocab-limit cannot be combined with second,'),
    (['second', '--min-count', '3'], '--min-count can only be combined with second,'),
    (['first', '--extend-vocab'], '--extend-vocab can only be used with --init-from')])
def test_the_vocabulary_of_a_model_is_not_overridden(
        run, first, write, args, message):  # noqa: F811
    write('words.txt', 'the\ncat\n')
    assert message in run('train', '--config', *args, '--out', 'new', status=2)
    assert not os.path.exists('new')


@pytest.mark.slow
@pytest.mark.parametrize('of, args, alone', [
    ('first', ['--min-count', '70'], False), ('first', ['--min-count', '70'], True),
    ('first', ['--vocab-limit', '5'], False), ('first', WORDS, True),
    ('first', ['--tokens', 'char'], False), ('first', ['--tokens', 'char'], True),
    ('first', ['--init-from', 'other'], False),
    ('second', ['--init-from', 'other'], True),
    ('second', ['--extend-vocab', '--min-count', '9'], False)])
def test_other_ids_of_the_same_text(run, first, write, of, args, alone):  # noqa: F811
    """The text is still recognised, by its vocabulary or else its length."""
    write('words.txt', 'the\ncat\n<unk>\n')
    if 'other' in args:
        trained(run, first, '--vocab-limit', '6', '--out', 'other')
    if alone:
        os.unlink(f'{of}/vocabulary.json')
    train = ['train', '--config', of, *args, '-e', '1']
    run(*train, '--out', 'new')
    new, old = described('new'), described(of)
    assert new['vocabulary'] != old['vocabulary'] and new['text'] != old['text']
    if '--min-count' in args and of == 'first':  # the limit is not forgotten
        assert new['source'] == {**old['source'], 'min_count': 70}
        corpus = rnnlm.load_corpus(first, vocab_limit=7, min_count=70)
        assert rnnlm.load('new').vocabulary == corpus.vocabulary
    with open(first) as f:
        text = f.read()
    for k, other in enumerate(changed_ways(text)):
        write('story.txt', other)
        if not alone or k == 1 and '--tokens' not in args:
            err = run(*train, '--out', 'x', status=2)
            assert '--config: story.txt: expected the text of the run in' in err
    run(*train, '--out', 'given', '--corpus', 'story.txt')


def test_a_run_of_before_is_repeated(run, first, write):  # noqa: F811
    """Its run.json has no hash of the text."""
    rewrite('first/run.json', 'text', None)
    run('train', '--config', 'first', '--out', 'new')
    with open('first/model.npz', 'rb') as f, open('new/model.npz', 'rb') as g:
        assert f.read() == g.read()
    write('story.txt', 'the cat sat on the mat .\n' * 60)
    assert 'training tokens instead of' in run(
        'train', '--config', 'first', '--out', 'x', status=2)
