"""Atomic writing of files."""
import os

from chainer import links as L
from helpers import small
import pytest

import rnnlm
from rnnlm.serializers import atomic
from rnnlm.serializers.atomic import writing


def test_links_and_pipes_are_not_replaced(tmp_path):
    real = tmp_path / 'real.npz'
    real.write_bytes(b'old')
    os.chmod(real, 0o600)
    (tmp_path / 'link.npz').symlink_to(real)
    rnnlm.save_npz(str(tmp_path / 'link.npz'), small())
    assert (tmp_path / 'link.npz').is_symlink()
    assert real.read_bytes()[:2] == b'PK' and real.stat().st_mode & 0o777 == 0o600
    if os.path.exists('/dev/null'):
        rnnlm.save_npz('/dev/null', small())
        assert not os.path.isfile('/dev/null')


def test_save_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / 'model.npz'
    rnnlm.save_npz(str(path), small())
    before = path.read_bytes()

    class Broken(L.Linear):
        def serialize(self, serializer):
            super().serialize(serializer)
            raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        rnnlm.save_npz(str(path), Broken(3, 4))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['model.npz']


def test_an_error_names_the_file_it_is_about(tmp_path):
    """It names the target, not the temporary file; other errors are unchanged."""
    for given, named in ((), 'model'), (('other',), 'other'):
        with pytest.raises(OSError) as caught:
            with writing(str(tmp_path / 'model')):
                raise OSError(28, 'No space left on device', *given)
        assert os.path.basename(caught.value.filename) == named
    with pytest.raises(OSError) as caught:
        with writing(str(tmp_path / 'no' / 'model')):
            pass
    assert caught.value.filename == os.path.realpath(tmp_path / 'no' / 'model')
    assert os.listdir(tmp_path) == []


def test_without_following(tmp_path):
    """Links and pipes are replaced; a regular file keeps its permissions."""
    real, path = tmp_path / 'real', tmp_path / 'path'
    real.write_bytes(b'old')
    os.chmod(real, 0o640)
    for make in (lambda: path.symlink_to(real), lambda: path.symlink_to('nowhere'),
                 lambda: os.mkfifo(path), lambda: os.link(real, path)):
        make()
        with writing(str(path), follow=False) as f:
            f.write(b'new')
        assert path.read_bytes() == b'new' and not path.is_symlink()
        assert real.read_bytes() == b'old'
        assert sorted(os.listdir(tmp_path)) == ['path', 'real']
        mode = path.stat().st_mode & 0o777
        os.unlink(path)
    assert mode == 0o640


@pytest.mark.parametrize('name', ['a' * 255, '\u00e9' * 127, '\U0001f600' * 63,
                                  '\udcff', ' ', '-x', 'a\nb'])
def test_names_of_any_kind(tmp_path, name):
    for follow in False, True:
        with writing(str(tmp_path / name), follow) as f:
            f.write(b'new')
            part, = set(os.listdir(tmp_path)) - {name}
            # Files left by a killed process are recognised by their names.
            copy = tmp_path / 'copies' / part
            copy.parent.mkdir(exist_ok=True)
            copy.touch()
            atomic.remove_parts(str(copy.parent))
            copy.parent.rmdir()
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError):
        with writing(str(tmp_path / ('a' * 256)), follow=False) as f:
            f.write(b'new')
    assert os.listdir(tmp_path) == [name]
