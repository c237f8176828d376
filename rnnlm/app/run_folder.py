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

# Errors of file systems that do not support locks, such as some network file systems.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Locks a folder; the system releases the lock however the run ends.

    Incomplete files of a killed run are deleted.  If the folder was created here and
    is still empty at the end, it is deleted too.

    Args:
        folder (str): The folder; created if it does not exist.

    Raises:
        InputError: If it cannot be written to, or another run is using it.
    """
    was_there = os.path.isdir(folder)
    make(folder)
    path = os.path.join(folder, LOCK)
    if _is_link(path):  # some releases of filelock truncate the locked file
        raise InputError(f'{path}: expected a file or nothing, found a link; delete it')
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f'{folder}: another run is writing to this folder; wait until it ends, or '
            'choose another folder with --out') from None
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
        if os.name == 'nt' and not was_there:  # Windows keeps the lock file until now
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # fails if the folder is not empty


def _is_link(path: str) -> bool:
    """Returns whether a file is a symbolic or a hard link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode) or (
        stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and found.st_size > 0)


def folder_of(path: str) -> str:
    """Returns the folder of a run, given the folder or a file in it."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def by_sentences(path: str) -> bool:
    """Returns whether a model was trained by sentences, each from a reset state.

    Args:
        path: As for `find_model`.
    """
    described = described_of(path)
    return described is not None and described.recipe.sentences


def dropout_of(path: str) -> Optional[float]:
    """Returns the dropout ratio of a model's training; None without run.json.

    Args:
        path: As for `find_model`.
    """
    described = described_of(path)
    return described.recipe.dropout if described else None


def described_of(path: str) -> Optional[RunDescription]:
    """Loads the description of a model's run; the path may be a link into its folder.

    Args:
        path: As for `find_model`.
    """
    return (RunDescription.load(folder_of(path))
            or RunDescription.load(os.path.dirname(os.path.realpath(path))))


def find_file(path: str) -> str:
    """Returns the file with the parameters: `path`, or the one in a run folder.

    A warning is logged if the model of a complete run is missing.

    Raises:
        rnnlm.errors.InputError: If there is none.
    """
    if not os.path.exists(path):
        raise InputError(
            f'{path}: expected the folder of a run or a model file, found nothing '
            "there; train a model with 'rnnlm train'")
    if os.path.exists(os.path.join(path, MODEL)):
        return os.path.join(path, MODEL)
    if os.path.isdir(path) and not snapshots_in(path):
        raise InputError(
            f'{path}: expected the folder of a run, found one without {MODEL} and '
            "without a snapshot; train a model with 'rnnlm train'")
    if not os.path.isdir(path):
        return path
    newest = newest_snapshot(path)
    if os.path.exists(os.path.join(path, RESULT)):  # the best model was there
        logger.warning('%s: expected %s, the model of the best epoch, found none; the '
                       'newest snapshot is used: %s', path, MODEL, newest)
    return newest


def convert_command(path: str) -> Optional[str]:
    """Returns the command that converts a model file of another framework.

    Args:
        path: A file that could not be loaded.

    Returns:
        The command; None if `rnnlm convert` cannot read the file, or it is not a file
        of another framework.
    """
    from rnnlm.interchange import convert  # slow to import, and rarely needed
    try:
        if convert.format_of(path) in (None, convert.onnx):
            return None
        with open(path, 'rb') as f:
            is_text = f.read(512).isascii()
        if is_text:  # its ending alone says little: `hyp.model` may be sentences
            convert.load(path)
    except (InputError, OSError):
        return None
    stem = re.sub(r'(\.weights)?\.[^./\\]*$', '', path)
    return shlex.join(['rnnlm', 'convert', path, f'{stem}.npz'])


def find_model(path: str) -> Tuple[str, Optional[Vocabulary]]:
    """Finds the files of a trained model.

    Args:
        path (str): The folder of a run, or a model or snapshot file.

    Returns:
        tuple: Path of the file with the parameters, which in a folder is ``model.npz``
        or, if that does not exist yet, the newest undamaged snapshot; and the
        `Vocabulary` in the same folder, or None.

    Raises:
        rnnlm.errors.InputError: If there is no such file, or the vocabulary is not that
            of the run.
    """
    path = find_file(path)
    # In the folder of the file or, if it is a link, in the folder of its target.
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
            f'{beside}: expected the vocabulary of the run (see {RUN} in the same '
            'folder), found another one; restore the file that the run wrote, for '
            'example with --resume')
    if described:  # the vocabulary files of old runs lack this
        vocabulary.tokens = described.tokens
    return path, vocabulary


def make(folder: str) -> None:
    """Creates a folder unless it exists.

    Raises:
        rnnlm.errors.InputError: If it cannot be created or written to.
    """
    reason: Optional[str]
    try:
        make_folder(folder)
        reason = None if os.access(folder, os.W_OK) else 'no permission to write'
    except (OSError, ValueError) as e:  # ValueError for a name with a NUL
        reason = getattr(e, 'strerror', None) or str(e)
    if reason:
        raise InputError(
            f'{folder}: expected a folder that can be written, found: {reason}; choose '
            'another one with --out')
