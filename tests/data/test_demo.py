import hashlib
import math
import random

import numpy as np
import pytest

from rnnlm.data import demo
from rnnlm.errors import InputError

# The first digits of the SHA-256 of the text of each part, and tokens.
DIGESTS = ['f1bcc7297a18b4ff', 'b4742c01eed2b179', '29f3d932958a0d1c']
SIZES = [100012, 6004, 6001]

ENTROPY = 23.3216890178633
LENGTH = 11.661024551463644


# --- figures of grammars small enough to be solved by hand ---

def test_geometric_grammar():
    # S -> a | a S, 1/2 each: entropy 2 ln 2, two words and <eos> on average.
    g = demo.Grammar({'S': [(1, ('a',)), (1, ('a', 'S'))]})
    assert g.entropy() == pytest.approx(2 * math.log(2), rel=1e-14)
    assert g.expected_length() == pytest.approx(3, rel=1e-14)
    assert g.perplexity() == pytest.approx(2 ** (2 / 3), rel=1e-14)
    assert g.log_probability('a a a') == pytest.approx(3 * math.log(.5), rel=1e-14)
    assert g.log_probability('a b') == -math.inf
    assert g.parse([]) == (0., 0)


def test_weights_and_characters():
    # One choice of 3:1 between a one-word and a two-word sentence.
    g = demo.Grammar({'S': [(3, ('ab',)), (1, ('c', 'def'))]})
    h = -.75 * math.log(.75) - .25 * math.log(.25)
    assert g.entropy() == pytest.approx(h, rel=1e-14)
    assert g.expected_length() == pytest.approx(.75 * 2 + .25 * 3, rel=1e-14)
    # 'ab\n' and 'c def\n'
    assert g.perplexity('char') == pytest.approx(
        math.exp(h / (.75 * 3 + .25 * 6)), rel=1e-14)
    assert g.expected(len) == pytest.approx(.75 * 2 + .25 * 4, rel=1e-14)


def test_ambiguous_grammar_counts_its_derivations():
    g = demo.Grammar({
        'S': [(1, ('N', 'S2')), (1, ('a', 'b', 'c')), (2, ('A', 'c'))],
        'N': [(1, ('a',))], 'S2': [(1, ('b', 'c')), (3, ('c',))],
        'A': [(1, ('a', 'b'))]})
    p, count = g.parse('a b c')
    assert count == 3
    assert p == pytest.approx(.25 * .25 + .25 + .5, rel=1e-14)
    assert g.parse('a c') == (pytest.approx(.25 * .75), 1)


@pytest.mark.parametrize('rules, message', [
    ({'S': [(1, ('S', 'a')), (1, ('a',))]}, 'start with itself'),
    ({'S': [(1, ('A',))], 'A': [(1, ('S',)), (1, ('a',))]}, 'start with itself'),
    ({'S': [(1, ('a', 'S'))]}, 'finite'),
    ({'S': [(1, ('a',)), (1, ('a', 'S', 'S'))]}, 'finite'),
    ({'S': [(1, ())]}, 'at least one symbol'),
    ({'S': []}, 'at least one symbol'),
    ({'S': [(0, ('a',))]}, 'positive int'),
    ({'S': [(.5, ('a',))]}, 'positive int'),
    ({'T': [(1, ('a',))]}, "'S' has no rule"),
])
def test_bad_grammar(rules, message):
    with pytest.raises(ValueError, match=message):
        demo.Grammar(rules)


# --- the demo corpus ---

def sentences(tokens):
    out = []
    sentence = []
    for token in tokens:
        if token == '<eos>':
            out.append(sentence)
            sentence = []
        else:
            sentence.append(token)
    assert not sentence
    return out


@pytest.fixture(scope='module')
def drawn():
    """About 9,000 sentences that are not in the corpus."""
    return sentences(demo.demo().sample(100000, random.Random(12345)))


def test_corpus_is_the_same_everywhere():
    parts = demo.corpus()
    digests = [hashlib.sha256(' '.join(part).encode()).hexdigest()[:16]
               for part in parts]
    assert digests == DIGESTS
    assert [len(part) for part in parts] == SIZES


def test_corpus_vocabulary_is_complete_in_train():
    train, valid, test = map(set, demo.corpus())
    words = {word for bodies in demo._expand(demo.RULES, demo.LEXICON).values()
             for _, body in bodies for word in body if word == word.lower()}
    assert train == words | {'<eos>'}
    assert valid <= train and test <= train
    assert 100 <= len(train) <= 200


def test_every_word_is_frequent():
    train = demo.corpus()[0]
    assert min(train.count(word) for word in set(train)) >= 50


def test_figures():
    g = demo.demo()
    assert g.entropy() == pytest.approx(ENTROPY, rel=1e-9)
    assert g.expected_length() == pytest.approx(LENGTH, rel=1e-9)
    assert g.perplexity() == pytest.approx(math.exp(ENTROPY / LENGTH), rel=1e-9)
    assert 6 < g.perplexity() < 10
    assert g.perplexity('byte') == g.perplexity('char')  # it is ASCII
    assert demo.demo() is g


def test_sample_converges_to_the_exact_figures(drawn):
    g = demo.demo()
    surprise = np.array([-g.log_probability(s) for s in drawn])
    error = surprise.std() / math.sqrt(len(drawn))
    assert abs(surprise.mean() - g.entropy()) < 4 * error
    assert error < .01 * g.entropy()  # The line above would be void otherwise.
    length = np.array([len(s) + 1 for s in drawn])
    error = length.std() / math.sqrt(len(drawn))
    assert abs(length.mean() - g.expected_length()) < 4 * error
    characters = np.array([len(' '.join(s)) + 1 for s in drawn])
    error = characters.std() / math.sqrt(len(drawn))
    assert abs(characters.mean() - g.expected(lambda w: len(w) + 1)) < 4 * error


def test_every_sentence_has_one_derivation(drawn):
    g = demo.demo()
    assert {g.parse(s)[1] for s in drawn} == {1}


def test_one_derivation_when_modifiers_pile_up():
    # Drawn from the same rules with the recursive ones made likely: the long
    # sentences in which an ambiguity of attachment would show.
    rules = {head: [(weight, body) for weight, body in bodies]
             for head, bodies in demo._expand(
                 demo.RULES, demo.LEXICON).items()}
    for kind in 'mfnp':
        (_, plain), (_, pp), (_, rc) = rules[f'NP.{kind}']
        rules[f'NP.{kind}'] = [(4, plain), (5, pp), (11, rc)]
        rules['PLAIN'] = [(9 if 'SAY' not in ' '.join(body) else 5, body)
                          for _, body in rules['PLAIN']]
    steep = demo.Grammar(rules)
    rng = random.Random(7)
    drawn = [steep.sentence(rng) for _ in range(1500)]
    assert np.mean([len(s) for s in drawn]) > 16
    assert {steep.parse(s)[1] for s in drawn} == {1}
    assert {demo.demo().parse(s)[1] for s in drawn} == {1}


# A second, independent reading of agreement: a list of words and a stack of
# subjects that wait for their verb; it shares nothing with the rules.

KINDS = {
    'm': 'king wizard baker grandfather prince',
    'f': 'queen witch duchess grandmother princess',
    'n': 'fox robot rabbit dragon goose',
    'p': 'kings queens wizards witches foxes robots rabbits dragons geese children'}
KIND = {word: kind for kind, words in KINDS.items() for word in words.split()}
PLURAL_VERBS = set(
    'sleep dance sing sneeze vanish whistle see help follow admire tickle forgive '
    'say believe hope lose find mend eat bake burn read write hide play tune repair '
    'walk sail hurry wait laugh listen'.split())
THIRD = {'hurry': 'hurries', 'vanish': 'vanishes'}
SINGULAR_VERBS = {THIRD.get(verb, verb + 's') for verb in PLURAL_VERBS}
BOUND = {'himself': 'm', 'his': 'm', 'herself': 'f', 'her': 'f',
         'itself': 'n', 'its': 'n', 'themselves': 'p', 'their': 'p'}


def disagreement(sentence):
    """None, or what is wrong with the agreement in a sentence."""
    waiting = []      # kinds of the subjects whose verb has not come yet
    clause = None     # kind of the subject of the innermost whole clause
    last = None       # kind of the last noun
    doer = None       # kind of the subject of the last verb
    wants = 'subject'
    closing = []      # words that an earlier word calls for
    for i, word in enumerate(sentence):
        if word in KIND:
            last = KIND[word]
            if wants == 'both':
                wants = 'both and'
            elif wants == 'both and':
                waiting, clause, wants = waiting + ['p'], 'p', None
            elif wants == 'neither':
                wants = 'neither nor'
            elif wants in ('subject', 'second'):
                waiting, clause, wants = waiting + [last], last, None
            elif wants == 'whom':
                waiting, wants = waiting + [last], None
        elif word in PLURAL_VERBS or word in SINGULAR_VERBS:
            if not waiting:
                return f'{word} at {i} has no subject'
            doer = waiting.pop()
            if (doer == 'p') != (word in PLURAL_VERBS):
                return f'{word} at {i} has a subject of kind {doer}'
        elif word in BOUND:
            if BOUND[word] != doer:
                return f'{word} at {i} has a subject of kind {doer}'
        elif word == 'who':
            waiting.append(last)
        elif word == 'whom':
            wants = 'whom'
        elif word == 'that':
            wants = 'subject'
        elif word == 'if':
            closing.append('then')
        elif word == 'both':
            wants = 'both'
            closing.append('and')
        elif word == 'neither':
            wants = 'neither'
            closing.append('nor')
        elif word == 'either':
            closing.append('or')
        elif word in ('then', 'or', 'nor') or word == 'and' and wants == 'both and':
            if not closing or closing.pop() != word:
                return f'{word} at {i} was not called for'
            if word in ('then', 'or'):
                wants = 'subject'
            elif word == 'nor':
                wants = 'second'
        elif word == 'and':
            waiting.append(clause)
    if waiting or closing:
        return f'left over: {waiting} {closing}'
    return None


def test_agreement_is_never_violated(drawn):
    for sentence in drawn:
        assert disagreement(sentence) is None, ' '.join(sentence)


@pytest.mark.parametrize('bad', [
    'the queen near the foxes sleep',
    'the foxes whom the queen sees sleeps',
    'the king who sees the queens admires herself',
    'both the king and the fox sees the mill',
    'neither the kings nor the queen sleep',
    'if the king sleeps or the queen dances',
    'either the king sleeps',
    'the foxes beside the king eat the pie and loses their boots',
    'the fox mends their boots',
])
def test_the_agreement_reader_and_the_grammar_see_violations(bad):
    assert disagreement(bad.split()) is not None
    assert demo.demo().parse(bad) == (0., 0)


def test_flipping_any_verb_leaves_the_language(drawn):
    other = {THIRD.get(verb, verb + 's'): verb for verb in PLURAL_VERBS}
    other.update({verb: third for third, verb in list(other.items())})
    for sentence in drawn[:500]:
        for i, word in enumerate(sentence):
            if word in other:
                flipped = sentence[:i] + [other[word]] + sentence[i + 1:]
                assert demo.demo().parse(flipped)[1] == 0, ' '.join(flipped)


def test_agreement_is_long_distance(drawn):
    # Often enough, the noun just before a verb has not the verb's number.
    attracted = total = 0
    for sentence in drawn:
        nouns = [i for i, word in enumerate(sentence) if word in KIND]
        for i, word in enumerate(sentence):
            if word in PLURAL_VERBS | SINGULAR_VERBS and any(n < i for n in nouns):
                near = KIND[sentence[max(n for n in nouns if n < i)]]
                total += 1
                attracted += (near == 'p') != (word in PLURAL_VERBS)
    assert attracted > .05 * total


def test_sampling_takes_only_its_own_generator():
    state = np.random.get_state()[1].copy()
    again = random.getstate()
    a = demo.demo().sample(500, random.Random(3))
    assert (np.random.get_state()[1] == state).all()
    assert random.getstate() == again
    assert demo.demo().sample(500, random.Random(3)) == a
    assert demo.demo().sample(500, random.Random(4)) != a
    assert a[-1] == '<eos>' and len(a) >= 500
    assert len(a) - len(sentences(a)[-1]) - 1 < 500
    # Any generator with random() will do.
    assert demo.demo().sample(50, np.random.RandomState(0))


def test_sample_perplexity():
    g = demo.Grammar({'S': [(1, ('a',)), (1, ('a', 'S'))]})
    # Probabilities 1/2 and 1/8 over six tokens.
    text = 'a <eos> a a a <eos>'.split()
    assert g.sample_perplexity(text) == pytest.approx(2 ** (4 / 6), rel=1e-14)
    valid = demo.corpus()[1]
    limit = demo.sample_perplexity(valid)
    assert limit == pytest.approx(demo.demo().perplexity(), rel=.05)
    assert limit == pytest.approx(math.exp(-sum(
        map(demo.demo().log_probability, sentences(valid))) / len(valid)), rel=1e-12)


@pytest.mark.parametrize('text, message', [
    ('', 'last token is None'),
    ('the fox sleeps', "last token is 'sleeps'"),
    ('the fox sleeps <eos> the fox sleep <eos>', "'the fox sleep' at token 4"),
    ('<eos>', "found '' at token 0"),
])
def test_sample_perplexity_refuses(text, message):
    with pytest.raises(InputError, match=message):
        demo.sample_perplexity(text.split())


def test_log_probability_takes_text_and_tokens():
    g = demo.demo()
    p = g.log_probability('the fox sleeps')
    # CLAUSE, PLAIN, NP VP, neuter, bare, no adjective, the, fox, VI, sleeps
    by_hand = (12 / 20 * 12 / 20 * .9 * .2 * 7 / 11 * 3 / 4 * 4 / 7 / 5
               * 4 / 22 / 6)
    assert p == pytest.approx(math.log(by_hand), rel=1e-12)
    assert g.log_probability(['the', 'fox', 'sleeps', '<eos>']) == p
