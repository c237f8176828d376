"""Links with a dropout mask for a whole window, and detection of where windows begin.

A `LanguageModel` calls `begin_window` of these links before each window (T, B).  Single
steps form a window too: it ends where the recurrent state is reset, replaced, or cut
off from its graph.  To detect that, the states after a step are compared, by identity,
with those before the next one.
"""
from __future__ import annotations

from typing import Any, Iterable, List, Tuple

import chainer

from rnnlm import functions

# The recurrent states after a step, and whether each was connected to a graph.
Fingerprint = Tuple[Tuple[Any, bool], ...]


def fingerprint(states: Iterable[Any]) -> Fingerprint:
    """Returns what `is_same_window` compares with before the next step.

    Args:
        states (iterable of Variables): The recurrent states after a step.
    """
    return tuple((state, _has_graph(state)) for state in states)


def is_same_window(before: Fingerprint, states: Iterable[Any]) -> bool:
    """Returns whether a step is in the same window as the previous one.

    It is not if the states were reset, replaced, or cut off from their graph, as by
    `unchain_backward` of the loss at the end of a window.

    Args:
        before: Result of `fingerprint` after the previous step.
        states (iterable of Variables): The recurrent states before this step.
    """
    now = fingerprint(states)
    return bool(now) and len(now) == len(before) and all(
        state is not None and state is old and has_graph == had_graph
        for (state, has_graph), (old, had_graph) in zip(now, before))


def _has_graph(state):
    return getattr(state, 'creator_node', None) is not None


def masked_links(chain: chainer.Link) -> List[Any]:
    """Returns the links in a chain that have `begin_window`; [] outside training.

    Links inside such a link are not returned, because it calls them itself.
    """
    if not chainer.config.train:
        return []
    found: List[Any] = []
    for link in chain.children():
        found += [link] if hasattr(link, 'begin_window') else masked_links(link)
    return found


class Masked(chainer.Link):
    """Link with a dropout mask that is drawn once per window.

    Attributes:
        ratio (float): Ratio of elements dropped, in [0, 1).
        mask (array): The mask of this window, 0 or 1 / (1 - ratio); None until drawn.
    """
    ratio: float
    mask: Any = None

    def begin_window(self) -> None:
        """Starts a window: discards the mask, so that the next call draws a new one.

        A `LanguageModel` calls it.  A link that knows the mask's shape without its
        input draws it here, before any random numbers of the window's steps.
        """
        self.mask = None

    def drops(self) -> bool:
        """Returns whether elements are dropped now: in training, if ratio > 0."""
        return bool(self.ratio and chainer.config.train)

    def draw(self, shape: Tuple[int, ...], dtype: Any) -> None:
        """Draws the mask if this window has none yet."""
        if self.mask is None:
            with chainer.using_device(self.device):
                self.mask = functions.window_mask(self.xp, shape, self.ratio, dtype)

    def device_resident_accept(self, visitor: Any) -> None:
        """Moves the link to another device, and discards the mask."""
        super().device_resident_accept(visitor)
        self.mask = None
