"""``result.json``: the results of a completed run, and the data to cite with them."""
from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shlex
import sys
from typing import Any, Optional

import chainer
from chainer import training
import numpy

from rnnlm.app import info, run_folder
from rnnlm.app.console import finite
from rnnlm.app.description import RunDescription
from rnnlm.app.run_folder import RESULT
from rnnlm.data.corpus import Corpus
from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.loading import MISSING

_FORMAT = 'rnnlm result'


class History(training.Extension):
    """Trainer extension that records in the snapshots how a run was computed.

    A run that is stopped and resumed has several parts.  A part that was lost because
    the run was resumed from an older snapshot is not in the list.

    If a completed run is continued, its ``result.json`` is deleted after the first
    window, because it no longer describes the model.

    Args:
        computed: Device, library versions and BLAS, as in ``run.json``.
        seed: Random seed; None if none was set.

    Attributes:
        parts (list of dict): The parts so far, with 'command', 'windows' (the number of
            windows before the part and at its end), 'seed', 'device', 'processes', and
            'rnnlm', 'NumPy', 'BLAS' and 'kernels' as in ``run.json``.
    """
    trigger = 1, 'iteration'
    default_name = 'History'

    def __init__(self, computed: dict[str, str], seed: Optional[int] = None) -> None:
        self.parts: list[dict] = []
        self._part: dict = {'command': command_line(), 'windows': None,
                            'seed': seed, **computed}

    def __call__(self, trainer: training.Trainer) -> None:
        now = trainer.updater.iteration
        if self._part['windows'] is None:
            self._part['windows'] = [now - 1, now]
            self._part['processes'] = getattr(
                getattr(trainer.updater, 'group', None), 'size', 1)
            self.parts.append(self._part)
            path = os.path.join(trainer.out, RESULT)
            with best_effort(path), contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._part['windows'][1] = now

    def serialize(self, serializer: Any) -> None:
        if isinstance(serializer, chainer.Serializer):
            if self.parts:
                serializer('parts', json.dumps(self.parts))
            return
        try:
            found = serializer('parts', '[]')
        except MISSING:  # a snapshot of a run without this extension
            return
        self.parts = json.loads(str(found))


def command_line() -> str:
    """Returns the command that started this process, quoted for a shell."""
    program, *args = sys.argv or ['']
    name = os.path.basename(program)
    if name in ('rnnlm', 'rnnlm.exe', '__main__.py'):
        return shlex.join(['rnnlm', *args])
    return shlex.join(['python', program, *args])


def write(trainer: training.Trainer, corpus: Corpus, result: dict[str, Any]) -> None:
    """Writes ``result.json`` into the folder of a completed run.

    Args:
        trainer: The trainer of the run, whose other files have been written.
        corpus: The text.
        result: The result of `rnnlm.train`.

    Raises:
        OSError: If it cannot be written completely.
    """
    found = describe(trainer, corpus, result)
    with writing(os.path.join(trainer.out, RESULT), follow=False) as f:
        f.write(json.dumps(finite(found), indent=1).encode())


def describe(trainer: training.Trainer, corpus: Corpus, result: dict[str, Any]
             ) -> dict[str, Any]:
    """Returns the content of ``result.json``; arguments as for `write`.

    Returns:
        A dict with 'valid' and 'test' as printed by `rnnlm evaluate --json`; 'limit';
        'run', the content of ``run.json``; 'parts' of `History`; 'epochs' and 'windows'
        that were trained, and 'window of the model', after which the best model was
        found; 'seconds' of training including evaluation, and tokens per second;
        'system' as printed by `rnnlm info --json`; and 'model', with the SHA-256 of its
        file.
    """
    updater, seconds = trainer.updater, trainer.elapsed_time
    history, best = (_extension(trainer, name) for name in ('History', 'BestModel'))
    described = RunDescription.load(trainer.out)
    system = info.describe()
    del system['notes']
    n_tokens = round(updater.epoch_detail * len(corpus.train))
    parts = history.parts if history else []
    return {
        'format': _FORMAT, 'version': 1,
        **{part: of_part(part, corpus, result) for part in ('valid', 'test')},
        'limit': result['limit'],
        'seed': parts[0].get('seed') if parts and parts[0]['windows'][0] == 0 else None,
        'run': described.to_json() if described else None,
        'parts': parts,
        'epochs': updater.epoch, 'windows': updater.iteration,
        'window of the model': best.window if best else None,
        'seconds': round(seconds, 3),
        f'{corpus.unit}s/s': round(n_tokens / max(seconds, 1e-9)),
        'finished': datetime.datetime.now(datetime.timezone.utc).isoformat(
            timespec='seconds'),
        'model': {'file': run_folder.MODEL,
                  'sha256': _sha256(os.path.join(trainer.out, run_folder.MODEL))},
        'system': system}


def of_part(part: str, corpus: Corpus, result: dict[str, Any]) -> dict[str, Any]:
    """Returns the results on a part, as `rnnlm evaluate --json` prints them."""
    found = {'part': part, 'tokens': corpus.tokens,
             'words': len(getattr(corpus, part)),
             'perplexity': result[part], 'unknown': result[f'{part}_unknown'],
             'perplexity without unknown': result[f'{part}_known']}
    if corpus.tokens == 'char':
        found['bits per character'] = float(numpy.log2(result[part]))
    if result.get('sentences'):
        found['sentences'] = True
    return found


def _extension(trainer: training.Trainer, name: str) -> Any:
    try:
        return trainer.get_extension(name)
    except ValueError:
        return None


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        for block in iter(lambda: f.read(2 ** 20), b''):
            digest.update(block)
    return digest.hexdigest()
