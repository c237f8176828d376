"""Conversion of an HDF5 file to npz, in a process that may hang or crash.

Run as a script, with a path and the `sys.path` to import from, it writes the npz file
to standard output.  It imports nothing from this package, so that it starts quickly.
"""
import json
import os
import signal
import subprocess
import sys
import zipfile

# Limit of an array's size relative to its stored size: gzip's best, reached on zeros.
MOST_INFLATED = 1100

# Limit of a file's unpacked size: this much, or MOST_RATIO times the file's size.
# Compression hardly makes weights smaller.
MOST_UNPACKED = 2 ** 28
MOST_RATIO = 20

# Processor time: seconds for a small file, and bytes per second for a large one.
PATIENCE = 2
SLOWEST = 10 ** 7

# Attributes that Keras writes, and the member of the npz file that holds them.
ATTRIBUTES = 'model_config', 'keras_version', 'layer_names', 'backend'
# Key for the list of empty groups: Keras layers without weights.
EMPTY_GROUPS = 'empty groups'
ATTRIBUTES_MEMBER = 'attributes.json'
MOST_TEXTS = 10_000

# Bytes of memory needed to read a file, in addition to its content.
SPARE = 2 ** 26

# Maximum depth of nested groups; Chainer's models have a handful.
DEEPEST = 50


def convert_apart(path, out):
    """Writes the arrays of an HDF5 file to `out`, using a separate process.

    Args:
        path (str): HDF5 file.
        out: An empty file, open for writing.

    Returns:
        str: Why it cannot be read, or '' on success.

    Raises:
        OSError: If the process cannot be started.
    """
    # A file can name filters, which are shared libraries that would be loaded.
    environment = dict(os.environ, HDF5_PLUGIN_PRELOAD='::')
    patience = _patience(path)
    try:
        done = subprocess.run(
            [sys.executable, '-I', __file__, os.fspath(path), *sys.path], stdout=out,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
            timeout=60 + patience)  # in case it waits without using the processor
    except subprocess.TimeoutExpired:
        return f'it took more than {60 + patience} seconds'
    if done.returncode == 0:
        return ''
    if -done.returncode == getattr(signal, 'SIGPROF', None):
        return f'it took more than {patience} seconds of processor time'
    if done.returncode < 0:
        return f'the HDF5 library crashed with signal {-done.returncode}'
    # On systems where a crash is not a signal, stderr may be empty.
    return (done.stderr.decode('utf-8', 'replace').strip().rpartition('\n')[2]
            or f'the HDF5 library crashed with status {done.returncode}')


def most_unpacked(size):
    """Returns how many bytes (int) a file of `size` bytes may unpack to."""
    return max(MOST_UNPACKED, MOST_RATIO * size)


def convert(path, out):
    """Writes the arrays of an HDF5 file, and its `ATTRIBUTES`, to `out` as npz.

    For a dataset that cannot be read, the member holds the reason instead of an array.
    """
    import h5py
    size = os.path.getsize(path)
    room = most_unpacked(size)
    with h5py.File(path, 'r') as f, zipfile.ZipFile(out, 'w') as z:
        empty = []
        for name, dataset in _datasets(h5py, f, empty):
            with z.open(name + '.npy', 'w', force_zip64=True) as member:
                try:
                    _check(dataset, room)
                    room -= dataset.nbytes if dataset.shape else 0
                    _write(dataset, member)
                except Exception as e:  # broken data can cause any error
                    member.write(f'{type(e).__name__}: {e}'.encode('utf-8', 'replace'))
        z.writestr(ATTRIBUTES_MEMBER, json.dumps(
            {**_attributes(h5py, f), EMPTY_GROUPS: empty}))


def _datasets(h5py, root, empty):
    """Yields (name, dataset) for all datasets below `root`, without following links.

    Adds the names of groups without members to `empty`.
    """
    seen = set()  # hard links can form cycles

    def walk(group, prefix):
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, h5py.Dataset):
                yield prefix + name, item
            elif isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen and prefix.count('/') < DEEPEST:
                    seen.add(address)
                    if not len(item) and len(empty) < MOST_TEXTS:
                        empty.append(prefix + name)
                    yield from walk(item, f'{prefix}{name}/')

    return walk(root, '')


def _attributes(h5py, root):
    """Returns {name: texts, or why they cannot be read} for `ATTRIBUTES`.

    Keras stores them in the root, or in the group with the weights of a model.
    """
    groups = [root]
    if isinstance(root.get('model_weights', getlink=True), h5py.HardLink):
        groups.append(root['model_weights'])
    found = {}
    for group in groups:
        for name in ATTRIBUTES:
            try:
                if name in group.attrs:
                    found[name] = _texts(h5py, group.attrs, name)
            except Exception as e:
                found[name] = f'{type(e).__name__}: {e}'
    return found


def _texts(h5py, attributes, name):
    import numpy
    kind = attributes.get_id(name)
    if h5py.check_string_dtype(kind.dtype) is None or len(kind.shape) > 1:
        raise ValueError(f'{kind.shape} of {kind.dtype}, which is not text')
    if sum(kind.shape) > MOST_TEXTS:
        raise ValueError(f'{sum(kind.shape):,} texts')
    texts = numpy.asarray(attributes[name]).ravel().tolist()
    texts = [text if isinstance(text, bytes) else text.encode('utf-8')
             for text in texts]
    return [text.decode('utf-8') for text in texts]


def limit_memory(size):
    """Limits the memory of this process, for a file of `size` bytes, on Linux.

    The library allocates any length that a broken file claims.
    """
    try:
        import resource
        with open('/proc/self/statm', 'rb') as f:
            pages = int(f.read().split()[0])
    except (ImportError, OSError):  # not Linux
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = (pages * resource.getpagesize()
             + SPARE + 10 * size + most_unpacked(size))
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _check(dataset, room):
    if dataset.dtype.hasobject:
        # Strings of variable length, which Chainer never writes: the library can loop
        # forever over a broken one.
        raise ValueError(f'{dataset.shape} of objects')
    if dataset.shape is None:
        return
    # Reading allocates what the header claims.
    room = min(room, MOST_INFLATED * (dataset.id.get_storage_size() + 1000))
    if dataset.external or dataset.is_virtual or dataset.nbytes > room:
        raise ValueError(f'{dataset.shape} of {dataset.dtype} that are not stored')


def _write(dataset, member):
    import numpy
    array = numpy.array(None)  # Chainer writes None as an empty dataset
    if dataset.shape is not None:
        array = numpy.asarray(dataset[()])
    numpy.lib.format.write_array(member, array, allow_pickle=dataset.shape is None)


def _patience(path):
    return PATIENCE + os.path.getsize(path) // SLOWEST


if __name__ == '__main__':
    sys.path[:] = sys.argv[2:]
    try:
        __import__('h5py')  # before the timer starts, since it takes a while
        if hasattr(signal, 'setitimer'):
            signal.setitimer(signal.ITIMER_PROF, _patience(sys.argv[1]))
        limit_memory(os.path.getsize(sys.argv[1]))
        convert(sys.argv[1], sys.stdout.buffer)
        sys.stdout.flush()
    except Exception as error:
        sys.exit(f'{type(error).__name__}: {error}'.replace('\n', ' '))
