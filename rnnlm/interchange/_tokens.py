"""Tokens of a model, as other programs store them with its weights."""
import json

from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.serializers.reading import parse_json

# Name of the tokens in the metadata of a .safetensors and of an .onnx.
METADATA = 'rnnlm vocabulary'
MOST_BYTES = 2 ** 23

# Names of entries, attributes or members that may hold the tokens.
NAMES = ('tokens', 'chars', 'characters', 'vocab', 'vocabulary', 'itos', 'idx2word',
         'idx2char', 'int2char', 'ix2char', 'ix_to_char', 'id2word', 'id_to_word',
         'idx_to_token', 'index2word', 'char2int', 'char2idx', 'char_to_ix', 'char2ix',
         'word2idx', 'word2id', 'word_to_id', 'word_to_ix', 'stoi', 'token_to_idx',
         'index_to_char', 'char_to_index', 'idx_to_char', 'all_characters')

# Limits of the search for tokens: depth in a checkpoint, values, and attempts.
MOST_DEPTH, MOST_VALUES, MOST_TRIES = 3, 10000, 20


def find(root, n_vocab):
    """Finds the tokens in a checkpoint, if it has them.

    Args:
        root: A dict, or an object with `attributes`.
        n_vocab (int): Expected number of tokens.

    Returns:
        list of str or bytes, in the order of their ids; None if there are none, or two
        lists that differ.
    """
    found, waiting, n_values, seen = None, [(root, 0)], 0, set()
    n_tries = 0
    while waiting:
        value, depth = waiting.pop()
        entries = getattr(value, 'attributes', value)
        if type(entries) is not dict or id(entries) in seen:
            continue
        seen.add(id(entries))
        for name, inner in entries.items():
            n_values += 1
            if n_values > MOST_VALUES:
                return found
            tokens = None
            if type(name) is str and name.lower().strip('_') in NAMES:
                n_tries += 1
                if n_tries <= MOST_TRIES:
                    tokens = tokens_of(inner, n_vocab)
            if tokens is not None:
                if found is not None and found != tokens:
                    return None
                found = tokens
            elif depth < MOST_DEPTH and (
                    type(inner) is dict and len(inner) < 100
                    or hasattr(inner, 'attributes')):
                waiting.append((inner, depth + 1))
    return found


def tokens_of(value, n_vocab):
    """Converts tokens to a list in the order of their ids; None if they are not tokens.

    Args:
        value: A list or a str of them, or a dict from token to id or from id to token,
            with ids from 0, or from 1 as in Lua.
        n_vocab (int): Expected number of tokens.
    """
    if type(value) is str and len(value) == n_vocab:
        value = list(value)
    if type(value) in (list, tuple):
        return _checked(list(value), n_vocab)
    if type(value) is not dict or len(value) != n_vocab:
        return None
    by_id = value
    if all(type(i) in (int, float) for i in value.values()):  # Lua has only floats
        by_id = {i: token for token, i in value.items()}
    for first in 0, 1:
        if all(i in by_id for i in range(first, first + n_vocab)):
            return _checked(
                [by_id[i] for i in range(first, first + n_vocab)], n_vocab)
    return None


def _checked(tokens, n_vocab):
    if len(tokens) != n_vocab or any(
            type(token) not in (str, bytes) or not token for token in tokens):
        return None
    return tokens if len(set(tokens)) == n_vocab else None


def to_text(vocabulary):
    """Encodes tokens as JSON, for formats that store metadata, under `METADATA`."""
    return json.dumps({'words': vocabulary.words, 'by_byte': vocabulary.by_byte,
                       'tokens': vocabulary.tokens}, ensure_ascii=False)


def of_text(text, n_vocab):
    """Decodes the result of `to_text`; None if it is not that, or of another size."""
    try:
        found = parse_json(text, MOST_BYTES)
    except ValueError:
        return None
    if type(found) is not dict or type(found.get('words')) is not list:
        return None
    tokens = tokens_of(found['words'], n_vocab)
    # Older files only say whether the tokens are bytes.
    kind = found.get('tokens', 'byte' if found.get('by_byte') is True else None)
    try:
        return None if tokens is None else Vocabulary(tokens, kind)
    except InputError:
        return None


def words_of(tokens):
    """Converts tokens to the words of a `Vocabulary`.

    Args:
        tokens (list of str or bytes): Result of `find`.  A str that is not valid UTF-8
            has surrogates in place of its bytes.

    Returns:
        tuple: list of str, and whether each is a single byte (bool).  Bytes that are
        not text by themselves become the Latin-1 characters of the same numbers.

    Raises:
        rnnlm.errors.InputError: If they are neither texts nor single bytes.
    """
    raw = [token if type(token) is bytes else token.encode('utf-8', 'surrogateescape')
           for token in tokens]
    try:
        return [token.decode('utf-8') for token in raw], False
    except UnicodeDecodeError:
        pass
    if any(len(token) != 1 for token in raw):
        raise InputError(
            'vocabulary: expected texts, or single bytes, found bytes that are neither')
    return [token.decode('latin-1') for token in raw], True
