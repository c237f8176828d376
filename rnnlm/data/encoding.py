"""Encoding of a source as ids, in memory or in the cache."""
from __future__ import annotations

import contextlib
import logging
import os
from typing import Any, Callable, ContextManager, Iterator, Optional, Union

from rnnlm.data import cache, files, flat, rules
from rnnlm.data.cache import Kept
from rnnlm.data.sources import Source
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.serializers import reading

logger = logging.getLogger(__name__)

# Progress of reading a long text: a function that is called with its size in bytes and
# returns a context manager, whose `update` is called with the number of bytes read.
Progress = Callable[[int], ContextManager[Any]]


def encode(source: Source, rule: Union[rules.Fitted, rules.Given],
           use_cache: bool = True, progress: Optional[Progress] = None) -> Kept:
    """Encodes a text as ids.

    Long files are read once, and then mapped from the cache.  If the cache cannot be
    written, a warning is logged and the ids are kept in memory.

    Args:
        source: The text.
        rule: Rule from tokens to ids.
        use_cache: Whether to use the cache.
        progress: Shows the progress of reading a long text.

    Raises:
        rnnlm.errors.InputError: If the text cannot be read.
    """
    split = source.path if source.split else None

    def build(store: flat.Store, read: Callable[[str], Iterator[bytes]]
              ) -> tuple[Vocabulary, flat.Facts]:
        return flat.build(store, source.read(rule.tokens, read), rule, split)

    paths = [] if source.is_streamed() else [
        path for path in source.all_files if os.path.isfile(path)]
    long = len(paths) == len(source.all_files) > 0 and cache.is_long(paths)
    bar: ContextManager[Any] = contextlib.nullcontext()
    if long and progress:
        bar = progress(sum(map(os.path.getsize, paths)))
    with bar as shown:
        update = shown.update if shown else None
        if long and use_cache:
            try:
                how = dict(rule.key, blank_lines=source.blank_lines, split=source.split,
                           files=[len(part) for part in source.parts])
                return cache.Cache(paths, how).get(build, update)
            except OSError as e:
                logger.warning('the ids are kept in memory, because the cache cannot '
                               'be used: %s', e)
        for path in paths:
            reading.require_memory(path, os.path.getsize(path))
        store = flat.Memory()
        vocabulary, facts = build(
            store, lambda path: files.read_blocks(path, update))
        return Kept(flat.parts_of(store.array(), facts.lengths), vocabulary, facts)
