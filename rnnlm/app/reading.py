"""Updater and evaluators of a run, for running text or sentences."""
from typing import Any

from chainer import links as L

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.iterators import ParallelSequentialIterator
from rnnlm.data.sentences import SentenceIterator
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.inference.scoring import boundary
from rnnlm.parallel.group import Group
from rnnlm.training.evaluator import PerplexityEvaluator, make_evaluator
from rnnlm.training.sentences import SentenceUpdater, make_sentence_evaluator
from rnnlm.training.updater import BPTTUpdater

# Number of words compared at a time.
_BLOCK = 2 ** 22


def require_readable(corpus: Corpus, recipe: Recipe, group: Group) -> None:
    """Refuses to train by sentences if that is impossible.

    Raises:
        rnnlm.errors.InputError: If no token ends a sentence, if there are fewer
            sentences than the batch size, or if there are several processes.
    """
    if not recipe.sentences:
        return
    if group.size > 1:
        raise InputError(
            f'expected one process, found {group.size}; omit --communicator, or train '
            'on running text', 'sentences')
    SentenceIterator(corpus.train, recipe.batch_size, _between(corpus.vocabulary),
                     repeat=False)


def count_sentences(corpus: Corpus) -> int:
    """Returns the number of sentences of the training part.

    Raises:
        rnnlm.errors.InputError: If no token ends a sentence.
    """
    between, words = _between(corpus.vocabulary), corpus.train
    # Block by block, because the text may not fit into memory.
    return int(sum((words[start:start + _BLOCK] == between).sum()
                   for start in range(0, len(words), _BLOCK)))


def _between(vocabulary: Vocabulary) -> int:
    """Returns the id of the token between sentences."""
    between = boundary(vocabulary)
    if between is None:
        raise InputError(
            'expected a vocabulary with a token between sentences (<eos>, or a line '
            'feed), found none', 'sentences')
    return between


def make_updater(corpus: Corpus, recipe: Recipe, optimizer: Any, device: Any,
                 group: Group) -> BPTTUpdater:
    """Creates the updater, for running text or sentences."""
    if recipe.sentences:
        iterator = SentenceIterator(
            corpus.train, recipe.batch_size, _between(corpus.vocabulary))
        return SentenceUpdater(iterator, optimizer, recipe.bprop_len, device)
    return BPTTUpdater(
        ParallelSequentialIterator(corpus.train, recipe.batch_size,
                                   rows=group.rows(recipe.batch_size)),
        optimizer, recipe.bprop_len, device, group=group)


def evaluator_of(corpus: Corpus, part: str, recipe: Recipe, classifier: L.Classifier,
                 group: Group) -> PerplexityEvaluator:
    """Creates the evaluator of 'valid' or 'test', for running text or sentences."""
    words, vocabulary = getattr(corpus, part), corpus.vocabulary
    if recipe.sentences:
        return make_sentence_evaluator(
            words, classifier, _between(vocabulary), vocabulary.unknown)
    return make_evaluator(words, classifier, group, vocabulary.unknown)
