"""Starting or resuming a run in a folder, which may contain an earlier run."""
import filecmp
import os
import shlex
import shutil
import stat
from typing import Any, Dict, List, Optional, Sequence

import numpy

from rnnlm._version import __version__
from rnnlm.app import info
from rnnlm.app.description import RUN, RunDescription
from rnnlm.app.run_folder import (
    LOCK, LOG, MODEL, PICTURE, RESULT, VOCABULARY, make)
from rnnlm.data.corpus import Corpus
from rnnlm.errors import InputError
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.atomic import same_file, writing
from rnnlm.serializers.reading import open_regular
from rnnlm.serializers.snapshot_files import (
    all_snapshots_in, is_undamaged, snapshot_number, window_in)

# Key of the lowest validation loss so far in a snapshot.
_BEST_LOSS = 'extensions/BestModel/loss'


def begin(folder: str, corpus: Corpus, described: RunDescription,
          overwrite: bool = False) -> None:
    """Creates the folder of a new run, with its description and vocabulary.

    An earlier run is deleted only after the new files are on the disk.

    Args:
        folder (str): The folder; created if it does not exist.
        corpus: `rnnlm.data.corpus.Corpus`.
        described: The content of ``run.json``.
        overwrite (bool): Whether an earlier run in the folder may be deleted.

    Raises:
        InputError: If the folder cannot be written to, or contains a run and
            `overwrite` is false.
        OSError: If the files cannot be written, or the old ones cannot be deleted; its
            message says whether the earlier run is unchanged.
    """
    make(folder)
    old = check_folder(folder, corpus.source or {},
                       described.began['model'] if described.began else None, overwrite)
    _describe(folder, corpus, described, old)


def check_folder(folder: str, source: Dict[str, Any], start: Optional[str],
                 overwrite: bool) -> List[str]:
    """Refuses an existing folder that a new run cannot be written to.

    Args:
        folder: The folder.
        source: What the text was, or will be, read from: as `Corpus.source`.
        start: The model that the run starts from, if any: a folder or a file.
        overwrite: As for `begin`.

    Returns:
        The files of an earlier run.

    Raises:
        rnnlm.errors.InputError: As for `begin`.
    """
    check_places(folder, source)
    if start and same_file(folder, start if os.path.isdir(start)
                           else os.path.dirname(start) or '.'):
        raise InputError(
            f'{folder}: expected a folder without the model of --init-from, found '
            f'{start}; choose another folder with --out')
    old = _results(folder)
    if old and not overwrite:
        raise _in_use(folder, old)
    return old


def prepare_to_resume(folder: str, snapshot: str, corpus: Corpus,
                      described: RunDescription, window: int) -> None:
    """Prepares a folder for a run that resumes a snapshot of this or another folder.

    If it is another folder, the best model and then the snapshot are copied into it, so
    that the run can be resumed from there.

    Args:
        folder (str): The existing folder that the resumed run writes to.
        snapshot (str): Snapshot file.
        corpus, described: As for `begin`.
        window: The window of the snapshot.

    Raises:
        InputError: If the folder has newer snapshots, or contains another run.
        OSError: If the folder cannot be written to.
    """
    check_places(folder, corpus.source or {})
    origin = os.path.dirname(snapshot) or '.'
    if os.path.samefile(origin, folder):
        newer = _newer(folder, window)
        if newer:
            raise InputError(
                f'{snapshot}: expected the newest snapshot of its folder, found '
                f'{newer}; resume that one with: {resume_folder_command(folder)}; or '
                'choose another folder with --out')
        _describe(folder, corpus, described)
        return
    copy = os.path.join(folder, f'snapshot_iter_{window}')
    best = os.path.join(origin, MODEL)
    old = _results(folder)
    if not _same_content(copy, snapshot) or _newer(folder, window):
        # The model alone remains if an earlier attempt was killed before it copied the
        # snapshot.
        old = [name for name in old if name != MODEL
               or not _same_content(os.path.join(folder, name), best)]
        if old:
            raise _in_use(folder, old)
    _describe(folder, corpus, described)
    # Without a regular file `BestModel` looks elsewhere for the best model.
    if os.path.isfile(best) and _has_best_of(origin, snapshot, window):
        _copy(best, os.path.join(folder, MODEL))
    _copy(snapshot, copy)


def check_places(folder: str, source: Dict[str, Any]) -> None:
    """Refuses a folder in which a file of the run cannot be written safely.

    Args:
        folder: The existing folder of a run.
        source: As for `check_folder`: text and vocabulary must not be files that the
            run writes.

    Raises:
        rnnlm.errors.InputError: If the name of a file of the run belongs to a folder, a
            pipe or a device, or to the text.
    """
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name not in (VOCABULARY, RUN, LOCK) and not _is_result(name):
            continue
        # A link is replaced and its target kept, but opening a pipe may block.
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(
                f'{path}: expected a file or nothing, found {_kind(path)}; move it '
                'away, or choose another folder with --out')
        vocabulary = source.get('vocabulary')
        found = ('the vocabulary of --vocab' if vocabulary and same_file(
            path, vocabulary) else 'the text of the corpus' if any(
                same_file(path, text) for text in _texts(source)) else None)
        if found:
            raise InputError(
                f'{path}: expected a file that may be overwritten, found {found}; move '
                'it, or choose another folder with --out')


def computed_by(device: object) -> Dict[str, str]:
    """Returns device, library versions and BLAS, for ``run.json``.

    Args:
        device (chainer.backend.Device): The device.
    """
    blas = ', '.join(sorted({info.blas_line(library) for library in info.blas()}))
    return {'device': str(device), 'rnnlm': __version__,
            'kernels': 'compiled' if info.compiled_kernels()['on'] else 'NumPy',
            'NumPy': numpy.__version__, 'BLAS': blas}


def changes(before: Dict[str, str], now: Dict[str, str]) -> List[str]:
    """Describes the differences between two results of `computed_by`."""
    return [f'{name}: {before[name]} before, now {now[name]}'
            for name in now if before.get(name, now[name]) != now[name]]


def _describe(folder: str, corpus: Corpus, described: RunDescription,
              old: Sequence[str] = ()) -> None:
    """Writes vocabulary and description, and then deletes old results."""
    try:
        with writing(os.path.join(folder, VOCABULARY), follow=False) as vocabulary, \
                writing(os.path.join(folder, RUN), follow=False) as run:
            for f, content in ((vocabulary, corpus.vocabulary.to_bytes()),
                               (run, described.to_bytes())):
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            _delete(folder, old)
    except OSError as e:
        if not old or not e.errno:
            raise
        left = 'is unchanged' if _results(folder) == list(old) else 'is deleted'
        raise OSError(f'{e.filename or folder}: {e.strerror}; the earlier run in '
                      f'{folder} {left}') from e


def _delete(folder: str, names: Sequence[str]) -> None:
    """Deletes results, the least important first.

    Raises:
        OSError: If one cannot be deleted; the remaining ones are kept then.
    """
    order = sorted(names, key=lambda name: (
        name == MODEL, snapshot_number(name) or 0, name))
    for k, name in enumerate(order):
        try:
            os.unlink(os.path.join(folder, name))
        except OSError as e:
            deleted = f'its files {", ".join(order[:k])} are' if k else 'no file is'
            raise OSError(
                f'{os.path.join(folder, name)}: the earlier run cannot be deleted '
                f'({e.strerror}); {deleted} deleted') from e


def _results(folder: str) -> List[str]:
    return [name for name in sorted(os.listdir(folder)) if _is_result(name)]


def _is_result(name: str) -> bool:
    """Returns whether a file is a result of training."""
    return name in (MODEL, LOG, PICTURE, RESULT) or snapshot_number(name) is not None


def _in_use(folder: str, old: Sequence[str]) -> InputError:
    # Without a description neither the text nor the options are known.
    resumable = os.path.exists(os.path.join(folder, RUN)) and any(
        snapshot_number(name) is not None for name in old)
    return InputError(
        f'{folder}: expected a folder without a run, found {", ".join(old[:3])}'
        f'{", ..." if len(old) > 3 else ""}; '
        + (f'resume that run with: {resume_folder_command(folder)}; or '
           if resumable else '')
        + 'choose another folder with --out, or delete it with --overwrite')


def resume_folder_command(folder: str, *options: str) -> str:
    """Returns the command that resumes the run in a folder, quoted for a shell.

    Args:
        folder: The folder.
        options: Other options of the command.
    """
    return shlex.join(['rnnlm', 'train', '--resume', folder, *options])


def _newer(folder: str, window: int) -> Optional[str]:
    """Returns the newest undamaged snapshot, if its window is later than `window`."""
    return next((path for path in all_snapshots_in(folder)
                 if (window_in(path) or 0) > window and is_undamaged(path)), None)


def _has_best_of(origin: str, snapshot: str, window: int) -> bool:
    """Returns whether the model in a folder is the best one up to a snapshot."""
    newer = _newer(origin, window)
    return newer is None or _best_loss(newer) == _best_loss(snapshot)


def _best_loss(snapshot: str) -> Optional[str]:
    with open_archive(snapshot) as archive:
        return str(archive[_BEST_LOSS]) if _BEST_LOSS in archive else None


def _same_content(path: str, other: str) -> bool:
    return (os.path.isfile(path) and os.path.isfile(other)
            and filecmp.cmp(path, other, shallow=False))


def _copy(source: str, path: str) -> None:
    with open_regular(source) as old, writing(path, follow=False) as new:
        shutil.copyfileobj(old, new)


def _texts(source: Dict[str, Any]) -> List[str]:
    """Returns the files of a text, as far as known."""
    paths = source.get('corpus') or []
    found = []
    for path in [paths] if isinstance(paths, str) else paths:
        if os.path.isdir(path):
            found += [os.path.join(path, name) for name in os.listdir(path)
                      if name.endswith(('.txt', '.gz', '.tokens', '.raw'))]
        elif os.path.isfile(path):
            found.append(path)
    return found


def _kind(path: str) -> str:
    mode = os.stat(path).st_mode
    return ('a folder' if stat.S_ISDIR(mode) else 'a pipe' if stat.S_ISFIFO(mode)
            else 'a socket' if stat.S_ISSOCK(mode) else 'a device')
