"""Saving, restoring and resetting the recurrent states of any chain of links."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import chainer

from rnnlm import parts
from rnnlm.errors import InputError

State = Dict[str, Dict[str, Optional[chainer.Variable]]]


def recurrent_links(target: chainer.Link) -> Iterator[Tuple[str, chainer.Link]]:
    """Yields (path, link) for each link in `target` that may have a recurrent state.

    Such a link has a method `reset_state`, or is part of a link that has one; a
    `StatefulChain` does not count, because it only calls those of its layers.
    """
    # A link that is shared has several paths; only the first one counts.
    seen = set()
    inside: List[str] = []
    for path, link in target.namedlinks():  # a link comes before its parts
        if resets(link) and not isinstance(link, StatefulChain):
            inside.append(path.rstrip('/') + '/')
        if id(link) not in seen and (resets(link) or path.startswith(tuple(inside))):
            seen.add(id(link))
            yield path, link


def names(link: chainer.Link, unset: bool = False) -> Tuple[str, ...]:
    """Returns the names of a link's attributes that hold its recurrent state.

    For a link that is not in the table of parts these are its Variables that are not
    parameters, and c and h also if they are arrays or None.

    Args:
        link: The link.
        unset: Whether to include all attributes that are None, because a state may
            have any name and is usually None until the first step.
    """
    if type(link) in parts.TABLE:
        return parts.TABLE[type(link)].state
    values = dict(vars(link))
    if unset:  # None may be the value in the class, too
        values = {name: None for cls in type(link).__mro__
                  for name, value in vars(cls).items() if value is None} | values
    return tuple(sorted(
        name for name, value in values.items()
        if isinstance(value, chainer.Variable) and not isinstance(
            value, chainer.Parameter)
        or name in ('c', 'h') and (value is None or is_array(value))
        or unset and value is None and name != 'name' and not name.startswith('_')))


def resets(link: chainer.Link) -> bool:
    """Returns whether a link has a method `reset_state`."""
    return callable(getattr(link, 'reset_state', None))


def is_array(value: Any) -> bool:
    """Returns whether a state is an array, which Chainer's functions accept too."""
    return isinstance(value, chainer.get_array_types())


def first(layers: Sequence[chainer.Link]) -> List[Optional[chainer.Variable]]:
    """Returns the states of the first layer that has any; [] if none has.

    Arrays are left out: they have no graph, which shows where a window ends.
    """
    for layer in layers:
        found = [getattr(link, name) for link in layer.links() for name in names(link)]
        found = [state for state in found if not is_array(state)]
        if found:
            return found
    return []


def get(target: chainer.Link) -> State:
    """Returns the states, not copies, as {path: {name: Variable or None}}."""
    return {path: {name: vars(link).get(name) for name in names(link)}
            for path, link in recurrent_links(target)}


def reset(target: chainer.Link) -> None:
    """Resets the states of all links."""
    for _, link in recurrent_links(target):
        if resets(link):
            link.reset_state()


def set_back(target: chainer.Link, state: State) -> None:
    """Restores states returned by `get`; links that it does not contain have none."""
    for path, link in recurrent_links(target):
        if path not in state and resets(link) and names(link) and (
                type(link) not in parts.TABLE):
            link.reset_state()  # which of its Variables are states it knows best
            continue
        before = state.get(path, {})
        for name in {*names(link), *before}:
            setattr(link, name, before.get(name))


def change(target: chainer.Link, function: Callable[[Any], Any]) -> None:
    """Replaces each state, an array (B, ...), by a function of it, without a graph."""
    for _, link in recurrent_links(target):
        for name in names(link):
            state = getattr(link, name)
            if state is not None:
                array = function(chainer.as_variable(state).array)
                setattr(link, name, array if is_array(state) else
                        chainer.Variable(array))


class StatefulChain(chainer.Chain):
    """Chain of recurrent layers, whose states can be read and set.

    A subclass has `_layers()`, the layers from the bottom up, `widths`, the units of
    the embedding and of each layer, and an `embed`.
    """

    def reset_state(self) -> None:
        """Resets c and h of every layer to zeros.

        As in Chainer's example, only layers are reset, not a subclass's other links.
        Of a layer without `reset_state`, such as a Sequential, the links in it are.
        """
        for layer in self._layers():
            for link in [layer] if resets(layer) else layer.links():
                if resets(link):
                    link.reset_state()

    def get_state(self) -> Optional[List[Tuple[Any, ...]]]:
        """Returns a copy of the recurrent state of the layers.

        Returns:
            list of tuples of arrays (B, n), one for each layer from the bottom up: (c,
            h) for an LSTM.  ``None`` after `reset_state`, or if a layer has no state.
        """
        layers = self._layers()
        found: List[Tuple[Any, ...]] = [
            tuple(getattr(layer, name, None) for name in names(layer))
            for layer in layers]
        # A state of which a part is missing cannot be set again, so it counts as none.
        if any(variable is None for state in found for variable in state):
            return None
        return [tuple(chainer.as_variable(variable).array.copy() for variable in state)
                for state in found]

    def set_state(self, state: Optional[Sequence[Tuple[Any, ...]]]) -> None:
        """Sets the recurrent state to one returned by `get_state`.

        Args:
            state: list of tuples of arrays or Variables (B, n), one for each layer:
                (c, h) for an LSTM.  ``None`` resets the state.

        Raises:
            rnnlm.errors.InputError: If the number of layers or a shape differs.
        """
        if state is None:
            self.reset_state()
            return
        # Shapes are checked before anything is set: layers keep a consistent batch
        # size.
        layers, dtype = self._layers(), self.embed.W.dtype
        shapes = [tuple(array.shape for array in arrays) for arrays in state]
        batch = shapes[0][0][:1] if shapes and shapes[0] and shapes[0][0] else ('B',)
        expected = [(batch + (n,),) * len(names(layer))
                    for layer, n in zip(layers, self.widths[1:])]
        if shapes != expected:
            raise InputError(
                f'state: expected for {len(layers)} layers arrays of the shapes '
                f'{expected}, found {shapes}')
        for layer, arrays in zip(layers, state):
            for name, array in zip(names(layer), arrays):
                setattr(layer, name, chainer.Variable(self.device.send(
                    getattr(array, 'array', array)).astype(dtype)))
