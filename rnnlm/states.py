"""Saving, restoring and resetting the recurrent states of any chain of links."""
from typing import Dict, Iterator, Optional, Tuple

import chainer

from rnnlm import parts

State = Dict[str, Dict[str, Optional[chainer.Variable]]]


def recurrent_links(target: chainer.Link) -> Iterator[Tuple[str, chainer.Link]]:
    """Yields (path, link) for each link in `target` that has a recurrent state.

    Such a link has a method `reset_state` and an attribute that holds a state.
    """
    seen = set()
    for path, link in target.namedlinks():
        if id(link) not in seen and callable(getattr(link, 'reset_state', None)) and (
                names(link)):
            seen.add(id(link))
            yield path, link


def names(link: chainer.Link) -> Tuple[str, ...]:
    """Returns the names of a link's attributes that hold its recurrent state.

    For a link that is not in the table of parts these are its Variables that are not
    parameters, and c and h even while they are None.
    """
    if type(link) in parts.TABLE:
        return parts.TABLE[type(link)].state
    return tuple(sorted(
        name for name, value in vars(link).items()
        if isinstance(value, chainer.Variable) and not isinstance(
            value, chainer.Parameter) or name in ('c', 'h') and value is None))


def get(target: chainer.Link) -> State:
    """Returns the states, not copies, as {path: {name: Variable or None}}."""
    return {path: {name: vars(link).get(name) for name in names(link)}
            for path, link in recurrent_links(target)}


def reset(target: chainer.Link) -> None:
    """Resets the states of all links."""
    for _, link in recurrent_links(target):
        link.reset_state()


def set_back(target: chainer.Link, state: State) -> None:
    """Restores states returned by `get`; links that had none then have none again."""
    for path, link in recurrent_links(target):
        for name in names(link):
            setattr(link, name, state.get(path, {}).get(name))
