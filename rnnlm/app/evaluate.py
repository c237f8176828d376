"""The commands `evaluate` and `interpolate`: perplexity on a text."""
import argparse
import dataclasses
from typing import List, Tuple

import numpy

from rnnlm.app import texts
from rnnlm.app.console import bits, progress, relative_to_limit, to_json
from rnnlm.app.run_folder import by_sentences
from rnnlm.app.texts import TextOfModel
from rnnlm.app.trained import TrainedModel, load
from rnnlm.data.corpus import Encoded
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, NotFinite, printable, require
from rnnlm.inference import dynamic, scoring
from rnnlm.inference.perplexity import Perplexity, without_unknown


def check(args: argparse.Namespace) -> None:
    """Refuses bad options of `evaluate`, before a model or a text is read."""
    texts.check(args)
    if args.text is not None and args.part != 'test':
        raise InputError('cannot be combined with --text', 'part')
    for flag, value in ('--dynamic-lr', args.lr), ('--dynamic-decay', args.decay):
        if value is not None and not args.dynamic:
            raise InputError(f'{flag} can only be used with --dynamic')
    dynamic.check_rates(args.lr, args.decay)
    if args.dynamic == 'rms' and args.text is not None:
        raise InputError("expected 'sgd' with --text, found 'rms', which reads the "
                         'training text too', 'dynamic')


def evaluate(args: argparse.Namespace) -> int:
    """Runs the command `evaluate`; returns the exit status."""
    check(args)
    sentences = args.sentences or by_sentences(args.model)
    if sentences and args.dynamic:
        raise InputError(
            'cannot be combined with --dynamic' if args.sentences else
            f'expected a model trained on running text, found {args.model}, trained '
            'with --sentences', 'sentences' if args.sentences else 'dynamic')
    trained = load(args.model, args.device)
    text = TextOfModel(args, args.model, trained.vocabulary, trained.model.n_vocab)
    part = text.part(args.part)
    adaptive = None if not args.dynamic else dynamic.DynamicEvaluation(
        trained.model, args.lr, 0.002 if args.decay is None else args.decay,
        rule=args.dynamic)
    vocabulary = text.vocabulary
    assert vocabulary is not None
    name = args.part if args.text is None else 'text'
    found = (of_sentences(trained, part, args.quiet) if sentences
             else of_stream(trained, part, vocabulary, args.quiet))
    count = len(part.ids)
    result = {'part': name, 'tokens': vocabulary.tokens, 'words': count,
              **found.to_json()}
    if vocabulary.by_character:
        result[f'bits per {vocabulary.unit}'] = float(numpy.log2(found.value))
    if sentences:
        result['sentences'] = True
    adapted = None
    if adaptive is not None:
        adapted = dynamic_perplexity(adaptive, text, part.ids, args.quiet)
        result[f'dynamic {args.dynamic}'] = adapted
    if args.json:
        print(to_json(result))
        return 0
    unit = vocabulary.unit
    how = ', state reset before each sentence' if sentences else ''
    print(f'{name:9}perplexity {found.value:.3f}'
          + bits(found.value, vocabulary.tokens) + how
          + relative_to_limit(found.value, None if found.rate else text.limit)
          + found.say_unknown(unit))
    if adapted is not None:
        rate = dataclasses.replace(found, known=numpy.nan).say_unknown(unit)
        print(f'{name:9}perplexity {adapted:.3f}' + bits(adapted, vocabulary.tokens)
              + f' with dynamic evaluation ({args.dynamic}){rate}')
    return 0


def of_stream(trained: TrainedModel, text: Encoded, vocabulary: Vocabulary,
              quiet: bool) -> Perplexity:
    """Computes the perplexity of a text read as one stream, as in training."""
    with progress(len(text.ids), ' words', quiet) as bar:
        value = trained.perplexity(text.ids, bar.update_to)
    known = value
    if text.n_unknown and vocabulary.unknown is not None:
        known = without_unknown(trained.model, text.ids, vocabulary)
    return Perplexity(value, known, text.rate,
                      bool(text.n_unknown) and vocabulary.unknown is None)


def of_sentences(trained: TrainedModel, text: Encoded, quiet: bool) -> Perplexity:
    """Computes the perplexity of a text, resetting the state before each sentence."""
    log_probs, targets = score_sentences_of(trained, text.ids, quiet)
    return Perplexity.of(
        log_probs, targets, text, trained.require_vocabulary().unknown)


def score_sentences_of(trained: TrainedModel, words: numpy.ndarray, quiet: bool
                       ) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Returns the log probabilities of the words of a text, and the words.

    The recurrent state is reset before each sentence.
    """
    with progress(len(words), ' words', quiet) as bar:
        return scoring.score_text_by_sentences(
            trained.model, words, trained.require_boundary(), bar.update_to)


def score_stream_of(trained: TrainedModel, words: numpy.ndarray, quiet: bool
                    ) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Works like `score_sentences_of`, but reads the text as one stream."""
    with progress(len(words), ' words', quiet) as bar:
        log_probs = scoring.score_ring(trained.model, words, bar.update_to)
    return log_probs, numpy.roll(words, -1)


def dynamic_perplexity(adaptive: dynamic.DynamicEvaluation, text: TextOfModel,
                       words: numpy.ndarray, quiet: bool) -> float:
    """Returns the perplexity of a text by dynamic evaluation.

    Raises:
        rnnlm.errors.NotFinite: If it is not finite: the learning rate is too high.
    """
    if adaptive.rule == 'rms':
        adaptive.gather(text.part('train').ids)
    with progress(len(words), ' words', quiet) as bar:
        found = adaptive.perplexity(words, bar.update_to, ring=True)
    if not numpy.isfinite(found):
        raise NotFinite(
            f'expected a finite perplexity with dynamic evaluation, found {found} at '
            f'the learning rate {adaptive.lr:g}; lower --dynamic-lr')
    return found


def interpolate(args: argparse.Namespace) -> int:
    """Runs the command `interpolate`; returns the exit status."""
    texts.check(args)
    if args.weight is not None:
        require('weight', args.weight, 'a number between 0 and 1',
                lambda v: 0 < v < 1)
    if args.text is not None and args.weight is None:
        raise InputError(
            'expected a weight with --text, found none; give one, because there is no '
            'validation part to choose the best', 'weight')
    one = load(args.model, args.device)
    other = load(args.other, args.device)
    text = TextOfModel(args, args.model, one.vocabulary, one.model.n_vocab)
    _require_same(one, other, args)
    test = text.part('test')
    sentences = any(by_sentences(path) for path in (args.model, args.other))

    def scores(part: str) -> List[Tuple[numpy.ndarray, numpy.ndarray]]:
        ids = text.part(part).ids
        score = score_sentences_of if sentences else score_stream_of
        return [score(trained, ids, args.quiet) for trained in (one, other)]

    (first, targets), (second, _) = scores('test')
    weight = args.weight
    if weight is None:
        weight = scoring.mixture_weight(*(values for values, _ in scores('valid')))
    vocabulary = text.vocabulary
    assert vocabulary is not None
    found = {}
    for name, values in (('first', first), ('second', second),
                         ('mixture', scoring.mix(first, second, weight))):
        found[name] = Perplexity.of(
            values, targets, test, vocabulary.unknown)
    if args.json:
        print(to_json({'weight': weight, 'unknown': test.rate, **{
            name: one.value for name, one in found.items()}, **{
            f'{name} without unknown': one.known for name, one in found.items()}}))
        return 0
    name = 'test' if args.text is None else 'text'
    unit = vocabulary.unit
    weights = f'interpolated, weights {weight:.3f} and {1 - weight:.3f}'
    how = ', state reset before each sentence' if sentences else ''
    for key, label in (('first', args.model), ('second', args.other),
                       ('mixture', weights)):
        print(f'{name:9}perplexity {found[key].value:.3f}'
              + bits(found[key].value, vocabulary.tokens)
              + f'{how}  {printable(label)}' + found[key].say_unknown(unit))
    return 0


def _require_same(one: TrainedModel, other: TrainedModel,
                  args: argparse.Namespace) -> None:
    """Refuses two models whose vocabularies differ."""
    same = one.model.n_vocab == other.model.n_vocab
    if one.vocabulary is not None and other.vocabulary is not None:
        same = one.vocabulary == other.vocabulary
    if not same:
        raise InputError(
            f'{args.other}: expected the vocabulary of {args.model}, '
            f'{one.model.n_vocab:,} tokens, found another one of '
            f'{other.model.n_vocab:,}; train both on the same corpus, or with the same '
            '--vocab')
