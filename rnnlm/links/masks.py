"""Masks that stay for a window, and when a window begins."""
from __future__ import annotations

from typing import Any, Iterable, List, Tuple

import chainer

from rnnlm import functions

# Recurrent states after a step, and whether each had a graph behind it.
Seen = Tuple[Tuple[Any, bool], ...]


def seen(states: Iterable[Any]) -> Seen:
    """What `goes_on` compares the states before the next step with.

    Args:
        states (iterable of Variables): The recurrent states after a step.
    """
    return tuple((state, _has_graph(state)) for state in states)


def goes_on(before: Seen, states: Iterable[Any]) -> bool:
    """Whether a step is of the same window as the one before it.

    It is not where the states were forgotten, replaced, or cut off from their graph, as
    `unchain_backward` of the loss does at the end of a window.

    Args:
        before: What `seen` gave after the last step.
        states (iterable of Variables): The recurrent states before this step.
    """
    now = seen(states)
    return bool(now) and len(now) == len(before) and all(
        state is not None and state is old and has_graph == had_graph
        for (state, has_graph), (old, had_graph) in zip(now, before))


def _has_graph(state):
    return getattr(state, 'creator_node', None) is not None


def keepers(chain: chainer.Link) -> List[Any]:
    """The links in a chain that keep a mask for a window; none while not training.

    Not those inside of one that is told itself.
    """
    if not chainer.config.train:
        return []
    found: List[Any] = []
    for link in chain.children():
        found += [link] if hasattr(link, 'begin_window') else keepers(link)
    return found


class Masked(chainer.Link):
    """A link with a mask that is drawn once a window.

    Attributes:
        ratio (float): Ratio of elements dropped, in [0, 1).
        mask (array): What is multiplied with, in this window; None before it is drawn.
    """
    ratio: float
    mask: Any = None

    def begin_window(self) -> None:
        """Lets the next call draw a new mask; a `LanguageModel` calls it.

        A link that knows the shape without its input draws the mask here, before all
        that is drawn in the steps of the window.
        """
        self.mask = None

    def drops(self) -> bool:
        """Whether anything is dropped now."""
        return bool(self.ratio and chainer.config.train)

    def draw(self, shape: Tuple[int, ...], dtype: Any) -> None:
        """Draws the mask, if this window has none yet."""
        if self.mask is None:
            with chainer.using_device(self.device):
                self.mask = functions.window_mask(self.xp, shape, self.ratio, dtype)

    def device_resident_accept(self, visitor: Any) -> None:
        super().device_resident_accept(visitor)
        self.mask = None  # it was on another device
