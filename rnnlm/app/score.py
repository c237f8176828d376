"""``rnnlm score``: log probabilities of sentences, and rescoring of n-best lists."""
import argparse
import dataclasses
import json
import math
import os
import shlex
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy

from rnnlm.app.console import progress, to_json
from rnnlm.app.run_folder import convert_command
from rnnlm.app.streams import complain
from rnnlm.app.trained import SentenceScore, TrainedModel, load
from rnnlm.data.lines import Line, name_of, read_lines
from rnnlm.data.text import UNK
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import (
    InputError, about, counted, printable, require, short_repr)
from rnnlm.inference import scoring


def check(args: argparse.Namespace) -> None:
    """Refuses options that contradict each other or are out of range."""
    for flag, value, needed, given in (
            ('--unk', args.unk, '--srilm', args.srilm),
            ('--lm-weight', args.lm_weight is not None, '--nbest', args.nbest),
            ('--word-penalty', args.word_penalty is not None, '--nbest', args.nbest),
            ('--weight', args.weight is not None, '--mix', args.mix is not None)):
        if value and not given:
            raise InputError(f'{flag} can only be used with {needed}')
    if args.total and args.nbest:
        raise InputError('--total cannot be combined with --nbest')
    for name in 'lm_weight', 'word_penalty':
        if getattr(args, name) is not None:
            require(name, getattr(args, name), 'a finite number', math.isfinite)
    if args.weight is not None:
        require('weight', args.weight, 'a number between 0 and 1',
                lambda v: 0 < v < 1)
    if args.file is None and os.path.isfile(args.model):
        with open(args.model, 'rb') as f:
            start = f.read(4)
        if start not in (b'PK\x03\x04', b'\x89HDF') and not convert_command(args.model):
            command = shlex.join(['rnnlm', 'score', 'result', args.model])
            raise InputError(
                f'{args.model}: expected a model, found another kind of file; if it is '
                f'the text, specify the model before it: {command}')


class Models:
    """One model, or the interpolation of two.

    Args:
        args: The arguments of the command.

    Attributes:
        vocabulary: Their vocabulary.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._models: List[TrainedModel] = [load(args.model, args.device)]
        self._models[0].require_boundary()
        if args.mix is not None:
            with about('mix'):
                self._models.append(load(args.mix, args.device))
                self._models[1].require_boundary()
        self.vocabulary: Vocabulary = self._models[0].require_vocabulary()
        self._weight = 0.5 if args.weight is None else args.weight
        words = set(self.vocabulary.words)
        for model in self._models[1:]:
            other = set(model.require_vocabulary().words)
            if other != words:
                raise InputError(
                    f'expected a model with the vocabulary of {args.model}, '
                    f'{len(words):,} tokens, found another one of {len(other):,}, '
                    f'with {len(words & other):,} in common', 'mix')

    def score(self, lines: Sequence[str]) -> Iterator[SentenceScore]:
        """Yields the scores of sentences, as `TrainedModel.score` returns them."""
        scores = [model.score(lines) for model in self._models]
        for first, *others in zip(*scores):
            for other in others:
                first = dataclasses.replace(first, token_log_probs=scoring.mix(
                    first.token_log_probs, other.token_log_probs, self._weight))
            yield first


@dataclasses.dataclass
class Total:
    """Counts and log probabilities (base 10) of sentences.

    Attributes:
        sentences: Number of sentences.
        words: Number of words, without ends of sentences.
        oov: Number of words that are not in the vocabulary, or are <unk> already.
        logprob: Sum of the log probabilities of known words and ends of sentences.
        unk_logprob: Sum over the unknown words; -inf if they cannot be scored.
        bad: Number of lines that could not be read.
    """
    sentences: int = 0
    words: int = 0
    oov: int = 0
    logprob: float = 0.0
    unk_logprob: float = 0.0
    bad: int = 0

    def __add__(self, other: 'Total') -> 'Total':
        return Total(*(a + b for a, b in zip(
            dataclasses.astuple(self), dataclasses.astuple(other))))

    def perplexity(self, ends: bool = True) -> float:
        """Computes the perplexity without unknown words, with or without `ends`."""
        return _power(self.logprob,
                      self.words - self.oov + (self.sentences if ends else 0))

    def perplexity_with_oov(self) -> float:
        """Computes the perplexity with unknown words as <unk>, and with `ends`."""
        return _power(self.logprob + self.unk_logprob, self.words + self.sentences)

    def as_dict(self) -> Dict[str, Any]:
        """Returns the totals for JSON."""
        scored = self.logprob
        if self.unk_logprob > -math.inf:
            scored += self.unk_logprob
        return {'sentences': self.sentences, 'words': self.words, 'oov': self.oov,
                'oov rate': self.oov / self.words if self.words else 0.0,
                'logprob': scored,
                'perplexity': self.perplexity_with_oov(),
                'perplexity without oov': self.perplexity(), 'unreadable': self.bad}

    def as_text(self, unit: str = 'word') -> str:
        """Returns the totals as a line of text; `unit` names a token."""
        rate = 100 * self.oov / self.words if self.words else 0.0
        per = '' if unit == 'word' else f' per {unit}'
        sentences, words = self.sentences, self.words
        text = (f'total: {counted(sentences, "sentence")}, {counted(words, unit)}, '
                f'{self.oov:,} of them unknown ({rate:.2f}%), ')
        if self.oov:
            text += (f'perplexity {self.perplexity():.6g}{per} without the unknown '
                     f'{unit}s'
                     + ('' if self.unk_logprob == -math.inf else
                        f', {self.perplexity_with_oov():.6g} with them as {UNK}'))
        else:
            text += f'perplexity {self.perplexity():.6g}{per}'
        bad = f'; {counted(self.bad, "line")} could not be read' if self.bad else ''
        return text + bad


def _power(logprob: float, n: int) -> float:
    """Computes 10 ** (-logprob / n); nan for n = 0, inf if it overflows."""
    if not n:
        return math.nan
    with numpy.errstate(over='ignore'):
        return float(numpy.power(10.0, -logprob / n))


@dataclasses.dataclass(frozen=True)
class Entry:
    """Output for one sentence; logarithms have base 10."""
    tokens: List[str]
    values: numpy.ndarray
    oov: numpy.ndarray  # bool (N + 1,)

    @classmethod
    def of(cls, score: SentenceScore, vocabulary: Vocabulary, unk: bool) -> 'Entry':
        """Creates the output for a score.

        Args:
            score: The score.
            vocabulary: The vocabulary of the model.
            unk: Whether no word counts as unknown.
        """
        # <unk> in the text stands for a word that was unknown before.
        oov = numpy.array([
            not unk and (token not in vocabulary or token == UNK)
            for token in score.tokens], bool)
        return cls(score.tokens, score.token_log_probs / math.log(10), oov)

    @property
    def logprob(self) -> float:
        """Sum of the logarithms that are not -inf."""
        return float(self.values[self.values > -math.inf].sum())

    def total(self) -> Total:
        """Returns the totals of this sentence."""
        return Total(1, len(self.tokens) - 1, int(self.oov.sum()),
                     float(self.values[~self.oov].sum()),
                     float(self.values[self.oov].sum()))


def score(args: argparse.Namespace) -> int:
    """Runs the command `score`; returns the exit status.

    Output is printed as soon as no more lines are available, or `scoring.GROUP` lines
    have been read.  So a program can write a line and wait for its score.
    """
    check(args)
    models = Models(args)
    if args.unk and UNK not in models.vocabulary:
        raise InputError(f'expected a vocabulary with {UNK}, found none in it', 'unk')
    if args.nbest:
        return rescore(args, models)
    total = Total()
    for lines in _read(args):
        good = [line.text for line in lines if line.text is not None]
        scores = models.score(good)
        for line in lines:
            if line.text is None:
                if not total.bad:
                    complain(f'rnnlm score: error: {line.problem}; the other lines are '
                             'scored')
                total.bad += 1
                if not args.total:
                    show_unreadable(args, line)
                continue
            entry = Entry.of(next(scores), models.vocabulary, args.unk)
            total += entry.total()
            if not args.total:
                show(args, line.text, entry)
        sys.stdout.flush()
    show_total(args, total, models.vocabulary)
    return 2 if total.bad else 0


def _read(args: argparse.Namespace) -> Iterator[List[Line]]:
    """Yields the lines in groups; shows a progress bar for a file."""
    is_file = args.file not in (None, '-') and os.path.isfile(args.file)
    hidden = args.quiet or not is_file or not (args.total or not sys.stdout.isatty())
    size = os.path.getsize(args.file) if is_file else 0
    with progress(size, 'B', hidden) as bar:
        for lines in read_lines(args.file, scoring.GROUP):
            yield lines
            bar.update(sum(line.size for line in lines))


def show(args: argparse.Namespace, line: str, entry: Entry) -> None:
    """Prints the entry of a sentence."""
    if args.json:
        print(to_json({
            'sentence': line, 'logprob': entry.logprob, 'oov': int(entry.oov.sum()),
            'words': [[token, float(value)]
                      for token, value in zip(entry.tokens, entry.values)]}))
    elif args.srilm:
        print(printable(line, keep='\t'))
        tokens = ['<s>', *map(printable, entry.tokens[:-1]), '</s>']
        for k, (value, oov) in enumerate(zip(entry.values, entry.oov)):
            before = f'{tokens[k]} {"..." if k else ""}'
            found = '[OOV] 0 [ -inf ]' if oov else (
                f'[rnn] {10 ** value:.6g} [ {value:.6g} ]')
            print(f'\tp( {tokens[k + 1]} | {before}) \t= {found}')
        show_srilm('', entry.total())
        print()
    else:
        words = ' '.join(
            f'{printable(json.dumps(token, ensure_ascii=False)[1:-1])} {value:.4f}'
            for token, value in zip(entry.tokens, entry.values))
        print(f'{entry.logprob:.4f}\t{entry.oov.sum()}\t{words}')


def show_unreadable(args: argparse.Namespace, line: Line) -> None:
    """Prints a placeholder for a line that is not UTF-8."""
    if args.json:
        print(to_json({'sentence': None, 'error': line.problem}))
    else:
        print()


def show_total(args: argparse.Namespace, total: Total, vocabulary: Vocabulary
               ) -> None:
    """Prints the totals of a text, to standard output or standard error."""
    unit = vocabulary.unit
    if args.srilm:
        show_srilm(f'file {printable(args.file or "-")}:', total)
    elif args.total:
        print(to_json(total.as_dict()) if args.json else total.as_text(unit))
    elif total.sentences and not args.quiet:
        sys.stdout.flush()
        complain(total.as_text(unit))


def show_srilm(title: str, total: Total) -> None:
    """Prints two lines of counts and perplexities, by the formulas of SRILM."""
    print(f'{title} {total.sentences} sentences, {total.words} words, '
          f'{total.oov} OOVs'.strip())
    ppl, ppl1 = (
        f'{value:.6g}' if value == value else 'undefined'
        for value in (total.perplexity(), total.perplexity(ends=False)))
    print(f'0 zeroprobs, logprob= {total.logprob:.6g} ppl= {ppl} ppl1= {ppl1}')


def rescore(args: argparse.Namespace, models: Models) -> int:
    """Prints n-best lists, each sorted by score after adding the model's score.

    All lines are checked before scoring, which may take long.
    """
    candidates = [_candidate(args.file, line)
                  for lines in read_lines(args.file, scoring.GROUP) for line in lines]
    weight = 1.0 if args.lm_weight is None else args.lm_weight
    penalty = args.word_penalty or 0.0
    lists: Dict[str, list] = {}
    with progress(len(candidates), ' lines', args.quiet) as bar:
        for start in range(0, len(candidates), scoring.GROUP):
            group = candidates[start:start + scoring.GROUP]
            for parts, score in zip(group, models.score([one[1] for one in group])):
                total = (float(parts[-1]) + weight * score.log_prob
                         + penalty * (len(score.tokens) - 1))
                lists.setdefault(parts[0], []).append((total, parts))
            bar.update(len(group))
    for found in lists.values():
        for total, parts in sorted(found, key=lambda c: -c[0]):
            print(printable(' ||| '.join([*parts[:-1], f'{total:.6g}']), keep='\t'))
    return 0


def _candidate(path: Optional[str], line: Line) -> List[str]:
    """Parses and checks a line of an n-best list."""
    if line.text is None:
        raise InputError(f'{line.problem}; no line was scored')
    parts = line.text.split(' ||| ')
    try:
        good = len(parts) >= 3 and math.isfinite(float(parts[-1]))
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f'{name_of(path)}:{line.number}: expected '
            f"'ID ||| SENTENCE ||| ... ||| SCORE' with a finite score, found "
            f'{short_repr(line.text)}; no line was scored')
    return parts
