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

# What shows how far a long text is read: called with its bytes, it gives a context
# manager with an `update` that is called with those that were read since.
Progress = Callable[[int], ContextManager[Any]]


def encode(source: Source, rule: Union[rules.Fitted, rules.Given],
           use_cache: bool = True, progress: Optional[Progress] = None) -> Kept:
    """Encodes a text as ids.

    A text of files that are long is read once, and then mapped from the cache.  Where
    that cannot be written, a warning is logged, and the ids are in memory.

    Args:
        source: The text.
        rule: What becomes of its tokens.
        use_cache: Whether the cache is used.
        progress: What shows how far a long text is read.

    Raises:
        rnnlm.errors.InputError: If the text cannot be used.
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
                logger.warning('the text is kept in memory, for the cache cannot be '
                               'used: %s', e)
        for path in paths:
            reading.require_memory(path, os.path.getsize(path))
        store = flat.Memory()
        vocabulary, facts = build(
            store, lambda path: files.read_blocks(path, update))
        return Kept(flat.parts_of(store.array(), facts.lengths), vocabulary, facts)
