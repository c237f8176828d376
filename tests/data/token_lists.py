"""A reference for rnnlm.data: texts as lists of str in memory."""
import gzip
import os

import numpy

from rnnlm.data import files
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError

EOS, UNK = '<eos>', '<unk>'


def vocabulary_of(tokens, limit=None, unknown=False, min_count=1, kind=None):
    """As `Vocabulary.from_tokens`."""
    counts = {}
    for token in tokens:
        counts[token] = counts.get(token, 0) + 1
    known = [word for word, n in counts.items()
             if word != UNK and (n >= min_count or word in (EOS, '\n'))]
    unknown = unknown or len(known) < len(counts)
    if limit is not None and len(known) + unknown > limit:
        ranked = sorted(known, key=counts.__getitem__, reverse=True)
        known, unknown = ranked[:limit - 1], True
    words = dict.fromkeys(word if word in known else UNK for word in counts)
    if unknown:
        words.setdefault(UNK)
    return Vocabulary(words, kind)


def read(path):
    with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as f:
        text = f.read().decode('utf-8')
    return text[1:] if text.startswith('\ufeff') else text


def split(text, tokens, blank_lines):
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    if tokens == 'char':
        return text
    if not text.endswith('\n'):
        text += '\n'
    if not blank_lines:
        text = ''.join(f'{line}\n' for line in text.split('\n') if line.strip())
    return text.replace('\n', f' {EOS} ').split()


def tokenise(paths, tokens, blank_lines=True):
    found = []
    for path in paths:
        text = read(path)
        if not text or text.isspace():
            raise InputError('no text')
        if len(paths) > 1 and not text.endswith('\n'):
            text += '\n'
        found += split(text, tokens, blank_lines)
    return found


def cut(tokens, end):
    n = len(tokens)
    if n < 20:
        raise InputError('too short')
    held_out = max(2, n // 20)
    parts = [tokens[:n - 2 * held_out], tokens[n - 2 * held_out:n - held_out],
             tokens[n - held_out:]]
    if end not in parts[0]:
        parts = [part if part[-1] == end else [*part, end] for part in parts]
    return parts


def parts_of(spec, tokens):
    """The tokens of the three parts, and whether the text is one of the user's own."""
    end = EOS if tokens == 'word' else '\n'
    own = True
    if isinstance(spec, list):
        parts = cut(tokenise(spec, tokens, False), end)
    elif os.path.isdir(spec):
        of_parts = files.part_files(spec)
        own = not files.is_ptb(spec)
        parts = [tokenise([one], tokens) for one in of_parts] if of_parts else (
            cut(tokenise(files.documents(spec), tokens, False), end))
    else:
        parts = cut(tokenise([spec], tokens, False), end)
    if min(map(len, parts)) < 2:
        raise InputError('too short a part')
    return parts, own


def load(spec, tokens='word', vocab_limit=None, min_count=None, vocabulary=None):
    """Vocabulary and ids of the three parts, as of `rnnlm.load_corpus`."""
    parts, own = parts_of(spec, tokens)
    if min_count is None:
        marked = UNK in (parts[0] if tokens == 'word' else ''.join(parts[0]))
        min_count = 2 if own and not marked else 1
    if vocabulary is None:
        fitted = vocabulary_of(parts[0], vocab_limit, False, min_count, tokens)
        if UNK not in fitted and any(
                word not in fitted for part in parts for word in part):
            fitted = vocabulary_of(parts[0], vocab_limit, True, min_count, tokens)
    else:
        words = list(vocabulary.words)
        end = EOS if tokens == 'word' else '\n'
        if end not in words and any(end in part for part in parts):
            words.append(end)
        if UNK not in words and any(word not in words for part in parts
                                    for word in part):
            words.append(UNK)
        fitted = Vocabulary(words, tokens)
    return fitted, [ids_of(part, fitted) for part in parts], min_count


def ids_of(tokens, vocabulary):
    """Ids; unknown tokens have that of <unk>, or are left out."""
    unknown = vocabulary.ids.get(UNK)
    ids = [vocabulary.ids.get(token, unknown) for token in tokens]
    return numpy.array([one for one in ids if one is not None], 'i')
