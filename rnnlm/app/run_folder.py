"""The folder of a run: its files, and a lock for the run that writes them."""
import contextlib
import errno
import logging
import os
import re
import shlex
import stat
from typing import Iterator, Optional, Tuple

import filelock

from rnnlm.app.description import RUN, RunDescription, hash_of_vocabulary
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.serializers.atomic import make_folder, remove_parts
from rnnlm.serializers.snapshot_files import newest_snapshot, snapshots_in

MODEL = 'model.npz'
VOCABULARY = 'vocabulary.json'
RESULT = 'result.json'
LOG = 'log'
PICTURE = 'perplexity.png'
LOCK = '.lock'

logger = logging.getLogger(__name__)

# What some network file systems answer.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Locks a folder; the system releases the lock however the run ends.

    What a killed run left half written is deleted; and the folder itself, if it was
    made here and nothing came into it.

    Args:
        folder (str): where; made if it is not there.

    Raises:
        InputError: if it cannot be written, or another run is using it.
    """
    was_there = os.path.isdir(folder)
    make(folder)
    path = os.path.join(folder, LOCK)
    if _is_link(path):  # some releases of filelock empty what they lock
        raise InputError(f'{path}: expected a file or nothing, found a link; delete it')
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f'{folder}: expected a folder that no other run is writing to, found one '
            'that is; wait until it ends, or choose another folder with --out'
        ) from None
    except (NotImplementedError, OSError) as e:
        if isinstance(e, OSError) and e.errno not in _NO_LOCKS:
            raise InputError(
                f'{path}: expected a file that can be locked, found: {e.strerror}; '
                'delete it, or choose another folder with --out') from None
        logger.warning('%s: cannot be locked (%s); make sure that no other run writes '
                       'to it', folder, e)
    try:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                remove_parts(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            if not was_there and os.listdir(folder) == [LOCK]:
                os.unlink(path)
                os.rmdir(folder)
        lock.release()
        if os.name == 'nt' and not was_there:  # there the lock goes only when let go
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # which leaves one alone that something is in


def _is_link(path: str) -> bool:
    """Returns whether a file is a symbolic or a hard link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode) or (
        stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and found.st_size > 0)


def folder_of(path: str) -> str:
    """Returns the folder of a run, given it or a file in it."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def by_sentences(path: str) -> bool:
    """Returns whether a model was trained by sentences, each from a zero state.

    Args:
        path: As of `find_model`.
    """
    described = described_of(path)
    return described is not None and described.recipe.sentences


def dropout_of(path: str) -> Optional[float]:
    """Returns the dropout of a model's training; None if there is no run.json.

    Args:
        path: As of `find_model`.
    """
    described = described_of(path)
    return described.recipe.dropout if described else None


def described_of(path: str) -> Optional[RunDescription]:
    """Loads the description of a model's run; the path may be a link into its folder.

    Args:
        path: As of `find_model`.
    """
    return (RunDescription.load(folder_of(path))
            or RunDescription.load(os.path.dirname(os.path.realpath(path))))


def find_file(path: str) -> str:
    """Returns the file with the parameters: `path`, or that in the folder of a run.

    Raises:
        rnnlm.errors.InputError: if there is none.
    """
    if not os.path.exists(path):
        raise InputError(
            f'{path}: expected the folder of a run or a model file, found nothing '
            "there; 'rnnlm train' makes a model")
    if os.path.exists(os.path.join(path, MODEL)):
        return os.path.join(path, MODEL)
    if os.path.isdir(path) and not snapshots_in(path):
        raise InputError(
            f'{path}: expected the folder of a run, found one without {MODEL} and '
            "without a snapshot; 'rnnlm train' makes a model")
    return newest_snapshot(path) if os.path.isdir(path) else path


def convert_command(path: str) -> Optional[str]:
    """Returns the command that converts a model file of another framework.

    Args:
        path: A file that could not be loaded.

    Returns:
        The command; None if the file is not of another framework, or of one that
        `rnnlm convert` does not read.
    """
    from rnnlm.interchange import convert  # slow to import, and rarely needed
    try:
        found = convert.format_of(path)
    except InputError:
        return None
    if found in (None, convert.onnx):
        return None
    stem = re.sub(r'(\.weights)?\.[^./\\]*$', '', path)
    return shlex.join(['rnnlm', 'convert', path, f'{stem}.npz'])


def find_model(path: str) -> Tuple[str, Optional[Vocabulary]]:
    """Finds the files that a trained model consists of.

    Args:
        path (str): the folder of a run, or a model or snapshot file.

    Returns:
        tuple: path of the file with the parameters: in a folder ``model.npz``, or
        while there is none the newest whole snapshot; and the `Vocabulary` beside it,
        or None.

    Raises:
        rnnlm.errors.InputError: if there is neither, or the vocabulary is not that of
            the run.
    """
    path = find_file(path)
    # Beside the file; else, if it is a link to one in the folder of a run, there.
    folders = [os.path.dirname(path), os.path.dirname(os.path.realpath(path))]
    for folder in folders:
        beside = os.path.join(folder, VOCABULARY)
        if os.path.exists(beside):
            break
    else:
        return path, None
    vocabulary = Vocabulary.load(beside)
    described = RunDescription.load(folder)
    if described and described.vocabulary != hash_of_vocabulary(vocabulary):
        raise InputError(
            f'{beside}: expected the vocabulary of the run ({RUN} beside it), found '
            'another one; put back the file that the run wrote, which a --resume '
            'does too')
    if described:  # that of an old run does not say it, and is guessed
        vocabulary.tokens = described.tokens
    return path, vocabulary


def make(folder: str) -> None:
    """Creates a folder unless it exists.

    Raises:
        rnnlm.errors.InputError: if it cannot be made or written to.
    """
    reason: Optional[str]
    try:
        make_folder(folder)
        reason = None if os.access(folder, os.W_OK) else 'no permission to write'
    except (OSError, ValueError) as e:  # of a name with a NUL
        reason = getattr(e, 'strerror', None) or str(e)
    if reason:
        raise InputError(
            f'{folder}: expected a folder that can be written, found: {reason}; choose '
            'another one with --out')
