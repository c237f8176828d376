"""The recurrent states of any chain of links: put aside, brought back, forgotten."""
from typing import Dict, Iterator, Optional, Tuple

import chainer

from rnnlm import parts

State = Dict[str, Dict[str, Optional[chainer.Variable]]]


def recurrent_links(target: chainer.Link) -> Iterator[Tuple[str, chainer.Link]]:
    """(path, link) of each link in `target` that has a recurrent state.

    That is, one with a method `reset_state` and an attribute that holds a state.
    """
    seen = set()
    for path, link in target.namedlinks():
        if id(link) not in seen and callable(getattr(link, 'reset_state', None)) and (
                names(link)):
            seen.add(id(link))
            yield path, link


def names(link: chainer.Link) -> Tuple[str, ...]:
    """Names of the attributes of a link that hold its recurrent state.

    Of a link that is not in the table of parts: its Variables that are no parameters,
    and c and h even while they are None.
    """
    if type(link) in parts.TABLE:
        return parts.TABLE[type(link)].state
    return tuple(sorted(
        name for name, value in vars(link).items()
        if isinstance(value, chainer.Variable) and not isinstance(
            value, chainer.Parameter) or name in ('c', 'h') and value is None))


def get(target: chainer.Link) -> State:
    """The states themselves, not copies: {path: {name: Variable or None}}."""
    return {path: {name: vars(link).get(name) for name in names(link)}
            for path, link in recurrent_links(target)}


def reset(target: chainer.Link) -> None:
    """Forgets the states of all links."""
    for _, link in recurrent_links(target):
        link.reset_state()


def set_back(target: chainer.Link, state: State) -> None:
    """Brings back what `get` gave; links that had no state then have none again."""
    for path, link in recurrent_links(target):
        for name in names(link):
            setattr(link, name, state.get(path, {}).get(name))
