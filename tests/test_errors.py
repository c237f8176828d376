"""The exceptions."""
import pickle

import pytest

import rnnlm
from rnnlm import errors


def test_an_input_error_knows_what_it_is_about():
    with pytest.raises(rnnlm.InputError) as e:
        errors.require_count('n_units', 0)
    assert e.value.name == 'n_units'
    assert e.value.problem == 'expected an integer of at least 1, found 0'
    assert str(e.value) == 'n_units: expected an integer of at least 1, found 0'
    error = rnnlm.InputError('file: expected a model, found none')
    assert error.name is None and str(error) == error.problem


@pytest.mark.parametrize('error', [
    rnnlm.InputError('expected 1, found 2', 'lr'), rnnlm.InputError('a: b'),
    rnnlm.InputError('a', 'b', ['c', 'd'])])
def test_an_input_error_is_picklable(error):
    error.shared = True
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is rnnlm.InputError
    assert (str(other), other.name, other.problem, other.shared) == (
        str(error), error.name, error.problem, True)


def test_the_lines_of_an_error_are_its_own():
    error = rnnlm.InputError('found a\nb', lines=['c', 'd\x1b\n'])
    assert str(error) == 'found a\\nb\nc\nd\\u001b\\n'
