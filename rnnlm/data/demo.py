"""The demo corpus: a small story grammar whose best perplexity is known exactly.

A language model is hard to judge on a text whose true distribution is unknown.
This text is sampled from the probabilistic grammar below, in which every sentence
has exactly one derivation.  The entropy of a sentence is therefore the entropy of
its derivation, which is the solution of a linear system, and no model can have a
lower expected perplexity per token than

    exp(entropy of a sentence / expected length of a sentence)

where the length includes one `<eos>`.  An n-gram model cannot reach this limit:
verbs, reflexives and possessives agree with a subject that may be several phrases
back, "if" is followed by "then" later, and "either" by "or".
"""
import bisect
import functools
import itertools
import math
import random

import numpy as np

from rnnlm.data.text import EOS
from rnnlm.errors import InputError

# Sizes of the demo corpus in tokens (each part ends with the sentence that
# reaches its size), and the seed of the generator for all three.
N_TRAIN = 100_000
N_VALID = 6000
N_TEST = 6000
SEED = 1997

# {g} is the kind of a noun, m(asculine), f(eminine), n(euter) or p(lural), drawn
# with these weights; {v} the number of its verb, s(ingular) or p(lural).
SHARES = {'m': 2, 'f': 2, 'n': 2, 'p': 4}

# Nonterminal -> [(weight, 'symbols'), ...]; words are in lower case.  Three rules
# keep it unambiguous: a noun has at most one modifier after it, adverbs come
# before their verb, and a clause inside another is never coordinated by "and".
RULES = {
    'S': [(12, 'CLAUSE'), (3, 'TIME CLAUSE'), (3, 'if PLAIN then PLAIN'),
          (2, 'either PLAIN or PLAIN')],
    'CLAUSE': [(12, 'PLAIN'), (4, 'NP.{g} VP.{g} and VP.{g}'),
               (2, 'both SNP and SNP VP.p'), (2, 'neither SNP nor SNP.{g} VP.{g}')],
    'PLAIN': [(9, 'NP.{g} VP.{g}'), (1, 'NP.{g} SAY.{v} that PLAIN')],
    'TIME': [(1, 'every morning'), (1, 'at night'), (1, 'in winter'), (1, 'today')],

    'NP': [(1, 'NP.{g}')],
    'NP.{g}': [(7, 'SNP.{g}'), (2, 'SNP.{g} PP'), (2, 'SNP.{g} RC.{g}')],
    'SNP': [(1, 'SNP.{g}')],
    'SNP.{g}': [(3, 'DET.{v} N.{g}'), (1, 'DET.{v} ADJ N.{g}')],
    'DET.s': [(4, 'the'), (2, 'a'), (1, 'every')],
    'DET.p': [(4, 'the'), (2, 'some'), (1, 'seven')],
    'PP': [(2, 'NEAR SNP'), (1, 'NEAR the PLACE')],
    'RC.{g}': [(2, 'who VP.{g}'), (1, 'WHOM')],
    'WHOM': [(1, 'whom SNP.{g} VT.{v}')],

    'VP.{g}': [(4, 'VI.{v}'), (1, 'ADV VI.{v}'), (3, 'VT.{v} NP'),
               (2, 'VT.{v} SELF.{g}'), (2, 'LOSE.{v} POSS.{g} THING'),
               (2, 'CALL.{v} NP'), (2, 'EAT.{v} the FOOD'), (2, 'READ.{v} the PAGE'),
               (2, 'PLAY.{v} the TUNE'), (2, 'GO.{v} to the PLACE')],
    'CALL.s': [(1, 'waits for'), (1, 'laughs at'), (1, 'listens to')],
    'CALL.p': [(1, 'wait for'), (1, 'laugh at'), (1, 'listen to')],
}

# Nonterminal -> words, all equally likely.  There are few of them, so that each occurs
# hundreds of times in training.
LEXICON = {
    'N.m': 'king wizard baker grandfather prince',
    'N.f': 'queen witch duchess grandmother princess',
    'N.n': 'fox robot rabbit dragon goose',
    'N.p': 'kings queens wizards witches foxes robots rabbits dragons geese children',
    'ADJ': 'sleepy brave tiny clever polite grumpy curious hungry',
    'NEAR': 'near behind beside',
    'PLACE': 'castle river bridge garden harbour mill',
    'ADV': 'quietly often never secretly',
    'VI.s': 'sleeps dances sings sneezes vanishes whistles',
    'VI.p': 'sleep dance sing sneeze vanish whistle',
    'VT.s': 'sees helps follows admires tickles forgives',
    'VT.p': 'see help follow admire tickle forgive',
    'SAY.s': 'says believes hopes', 'SAY.p': 'say believe hope',
    'LOSE.s': 'loses finds mends', 'LOSE.p': 'lose find mend',
    'THING': 'slippers gloves spectacles boots',
    'EAT.s': 'eats bakes burns', 'EAT.p': 'eat bake burn',
    'FOOD': 'cake pie pancakes pudding',
    'READ.s': 'reads writes hides', 'READ.p': 'read write hide',
    'PAGE': 'letter map story poem',
    'PLAY.s': 'plays tunes repairs', 'PLAY.p': 'play tune repair',
    'TUNE': 'flute drum violin trumpet',
    'GO.s': 'walks sails hurries', 'GO.p': 'walk sail hurry',
    'SELF.m': 'himself', 'SELF.f': 'herself',
    'SELF.n': 'itself', 'SELF.p': 'themselves',
    'POSS.m': 'his', 'POSS.f': 'her', 'POSS.n': 'its', 'POSS.p': 'their',
}


def _expand(rules, lexicon):
    """Expands {g} and {v}; returns nonterminal -> [(weight, tuple of symbols)]."""
    table = {}
    total = sum(SHARES.values())
    forms = {g: dict(g=g, v='p' if g == 'p' else 's') for g in SHARES}
    for head, alternatives in rules.items():
        # A head with {g} is a family of nonterminals; a body with {g} under a head
        # without it draws the kind by its weight.
        for kind in SHARES if '{' in head else [None]:
            out = table.setdefault(head.format(**forms.get(kind, {})), [])
            for weight, body in alternatives:
                if kind is None and '{' in body:
                    out += [(weight * share, tuple(body.format(**forms[g]).split()))
                            for g, share in SHARES.items()]
                else:
                    body = body.format(**forms.get(kind, {}))
                    out.append((weight * total, tuple(body.split())))
    for head, words in lexicon.items():
        table[head] = [(1, (word,)) for word in words.split()]
    return table


class Grammar:
    """Probabilistic context-free grammar, with its exact statistics.

    Args:
        rules (dict): Nonterminal (str) -> list of (weight, symbols), weight a
            positive int, symbols a non-empty tuple of str.  A symbol that is not a
            key of `rules` is a word.
        start (str): The nonterminal of a sentence.

    Raises:
        ValueError: If a rule is empty or its weight is not a positive int, if a
            nonterminal can start with itself (the parser works from left to right),
            or if sentences have no finite expected length.
    """

    def __init__(self, rules, start='S'):
        self.start = start
        self._bodies = {}
        self._log_probs = {}
        self._bounds = {}
        for head, alternatives in rules.items():
            weights = [weight for weight, _ in alternatives]
            if not alternatives or any(
                    not body or not isinstance(weight, int) or weight < 1
                    for weight, body in alternatives):
                raise ValueError(
                    f'rules of {head!r}: expected a positive int and at least one '
                    f'symbol in each, found {alternatives!r}')
            self._bodies[head] = [tuple(body) for _, body in alternatives]
            self._bounds[head] = list(itertools.accumulate(weights))
            self._log_probs[head] = [
                math.log(weight / sum(weights)) for weight in weights]
        if start not in self._bodies:
            raise ValueError(f'start symbol {start!r} has no rule')
        self._heads = list(self._bodies)
        self._first = {}
        for head in self._heads:
            self._first_words(head, ())
        self._moves = self._expected_moves()

    def _first_words(self, symbol, path):
        """Returns the set of words that `symbol` can start with."""
        if symbol not in self._bodies:
            return {symbol}
        if symbol in path:
            raise ValueError(f'nonterminal {symbol!r} can start with itself')
        if symbol not in self._first:
            self._first[symbol] = set().union(
                *(self._first_words(body[0], path + (symbol,))
                  for body in self._bodies[symbol]))
        return self._first[symbol]

    def _expected_moves(self):
        """Computes an (n, n) matrix: expected uses of j in one rewriting of i."""
        at = {head: i for i, head in enumerate(self._heads)}
        moves = np.zeros((len(at), len(at)))
        for head, i in at.items():
            for body, log_p in zip(self._bodies[head], self._log_probs[head]):
                for symbol in body:
                    if symbol in at:
                        moves[i, at[symbol]] += math.exp(log_p)
        radius = np.abs(np.linalg.eigvals(moves)).max()
        if radius > 1 - 1e-9:
            raise ValueError('sentences of this grammar have no finite expected length')
        return moves

    def _total(self, own):
        """Computes the expected sum of `own[head]` over a derivation."""
        own = np.array([own[head] for head in self._heads])
        x = np.linalg.solve(np.eye(len(own)) - self._moves, own)
        return float(x[self._heads.index(self.start)])

    def expected(self, measure):
        """Computes the expected sum of `measure(word)` over the words of a sentence.

        The end mark is not a word of the grammar and is not counted.
        """
        return self._total({
            head: sum(math.exp(log_p) * measure(word)
                      for body, log_p in zip(bodies, self._log_probs[head])
                      for word in body if word not in self._bodies)
            for head, bodies in self._bodies.items()})

    def expected_length(self):
        """Computes the expected number of tokens of a sentence, with `<eos>`."""
        return self.expected(lambda word: 1) + 1

    def entropy(self):
        """Computes the entropy of a derivation in nats.

        It is the entropy of the sentence when the grammar is unambiguous.
        """
        return self._total({
            head: -sum(math.exp(log_p) * log_p for log_p in log_probs)
            for head, log_probs in self._log_probs.items()})

    def perplexity(self, tokens='word'):
        """Computes the lowest expected perplexity that a model can reach on sentences.

        Args:
            tokens (str): 'word', per token with `<eos>`; 'char' or 'byte', per
                character with one blank between words and one newline after a sentence.
        """
        if tokens != 'word':
            return math.exp(self.entropy() / self.expected(lambda w: len(w) + 1))
        return math.exp(self.entropy() / self.expected_length())

    def sentence(self, rng):
        """Draws one sentence, a list of str without `<eos>`.

        Args:
            rng: Random generator; only its `random()` in [0, 1) is used.
        """
        words = []
        stack = [self.start]
        while stack:
            symbol = stack.pop()
            if symbol in self._bodies:
                # Integer bounds: no rounding that could differ between machines.
                bounds = self._bounds[symbol]
                draw = int(rng.random() * bounds[-1])
                stack += reversed(
                    self._bodies[symbol][bisect.bisect_right(bounds, draw)])
            else:
                words.append(symbol)
        return words

    def sample(self, n_tokens, rng):
        """Draws complete sentences until there are at least `n_tokens` tokens.

        The same generator state gives the same text everywhere: use
        `random.Random(seed)`.  The global generators are not touched.

        Args:
            n_tokens (int): Minimum number of tokens, including `<eos>`.
            rng: Random generator; only its `random()` in [0, 1) is used.

        Returns:
            list of str: Words, with `<eos>` after each sentence.
        """
        tokens = []
        while len(tokens) < n_tokens:
            tokens += self.sentence(rng)
            tokens.append(EOS)
        return tokens

    def parse(self, sentence):
        """Computes the probability and the number of derivations of a sentence.

        Args:
            sentence (str or sequence of str): Words, or a text to be split at
                blanks; a last `<eos>` is ignored.

        Returns:
            tuple: (probability summed over all derivations, a float; their number,
            an int).  (0.0, 0) if the grammar cannot derive this sentence.
        """
        if isinstance(sentence, str):
            sentence = sentence.split()
        words = list(sentence)
        if words and words[-1] == EOS:
            words.pop()
        n = len(words)
        memo = {}

        def spans(symbol, begin):
            # {end: [probability, count]} of `symbol` over words[begin:end].
            if begin == n:
                return {}
            if symbol not in self._bodies:
                return {begin + 1: (1., 1)} if words[begin] == symbol else {}
            if words[begin] not in self._first[symbol]:
                return {}
            key = symbol, begin
            if key not in memo:
                found = {}
                for body, log_p in zip(self._bodies[symbol], self._log_probs[symbol]):
                    partial = {begin: (math.exp(log_p), 1)}
                    for part in body:
                        longer = {}
                        for middle, (p, count) in partial.items():
                            for end, (q, more) in spans(part, middle).items():
                                old = longer.get(end, (0., 0))
                                longer[end] = old[0] + p * q, old[1] + count * more
                        partial = longer
                    for end, (p, count) in partial.items():
                        old = found.get(end, (0., 0))
                        found[end] = old[0] + p, old[1] + count
                memo[key] = found
            return memo[key]

        return spans(self.start, 0).get(n, (0., 0))

    def log_probability(self, sentence):
        """Computes the natural logarithm of the probability of a sentence.

        It is -inf if the grammar cannot derive the sentence.  `sentence` is as for
        :meth:`parse`.
        """
        p = self.parse(sentence)[0]
        return math.log(p) if p > 0 else -math.inf

    def sample_perplexity(self, tokens):
        """Computes the perplexity of the true distribution on a given text.

        This is the perplexity of a model that knows the grammar on these sentences.  It
        varies around :meth:`perplexity`, depending on the sample.

        Args:
            tokens (sequence of str): Complete sentences, each with its `<eos>`.

        Raises:
            InputError: If there is no token, if the last one is not `<eos>`, or if the
                grammar cannot derive a sentence.
        """
        tokens = list(tokens)
        if not tokens or tokens[-1] != EOS:
            raise InputError(
                f'demo text: expected complete sentences, each with {EOS!r} at its '
                f'end, but the last token is {tokens[-1] if tokens else None!r}')
        total = 0.
        begin = 0
        for i, token in enumerate(tokens):
            if token == EOS:
                log_p = self.log_probability(tokens[begin:i])
                if log_p == -math.inf:
                    raise InputError(
                        'demo text: expected sentences of the demo grammar, found '
                        f'{" ".join(tokens[begin:i])!r} at token {begin}')
                total += log_p
                begin = i + 1
        return math.exp(-total / len(tokens))


@functools.lru_cache(maxsize=None)
def demo():
    """Returns the :class:`Grammar` of the demo corpus (always the same object)."""
    return Grammar(_expand(RULES, LEXICON))


def sample_perplexity(tokens):
    """Computes :meth:`Grammar.sample_perplexity` of the demo grammar."""
    return demo().sample_perplexity(tokens)


def corpus():
    """Returns the demo corpus: (train, valid, test), lists of str with `<eos>`.

    It is the same on every machine, and does not use NumPy's random state.
    """
    rng = random.Random(SEED)
    grammar = demo()
    return tuple(grammar.sample(n, rng) for n in (N_TRAIN, N_VALID, N_TEST))
