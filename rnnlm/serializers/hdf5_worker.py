"""An HDF5 file as an npz file, by a process that may hang or crash.

Run as a script, with a path and the `sys.path` to import by, it writes the npz file
to standard output.  It imports nothing of this package, so that it starts quickly.
"""
import json
import os
import signal
import subprocess
import sys
import zipfile

# How much larger than in the file an array may claim to be: what gzip does to zeros.
MOST_INFLATED = 1100

# What a file may unpack to: this much, or so many times its own size.  Weights hardly
# get smaller by compression.
MOST_UNPACKED = 2 ** 28
MOST_RATIO = 20

# Seconds of the processor for a small file, and bytes a second for a large one.
PATIENCE = 2
SLOWEST = 10 ** 7

# What Keras says in attributes, and the member of the npz file that holds them.
ATTRIBUTES = 'model_config', 'keras_version', 'layer_names', 'backend'
# Beside them the groups that hold nothing: Keras's layers without weights.
EMPTY_GROUPS = 'empty groups'
ATTRIBUTES_MEMBER = 'attributes.json'
MOST_TEXTS = 10_000

# Bytes of memory beside what the file has, to read them.
SPARE = 2 ** 26

# Groups in groups; Chainer's models have a handful.
DEEPEST = 50


def convert_apart(path, out):
    """Writes the arrays of an HDF5 file into `out`, in a process of its own.

    Args:
        path (str): HDF5 file.
        out: An empty file, open to write.

    Returns:
        str: why it cannot be read; '' if it can.

    Raises:
        OSError: if there can be no such process.
    """
    # Filters that a file names are libraries, which could be loaded.
    environment = dict(os.environ, HDF5_PLUGIN_PRELOAD='::')
    patience = _patience(path)
    try:
        done = subprocess.run(
            [sys.executable, '-I', __file__, os.fspath(path), *sys.path], stdout=out,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
            timeout=60 + patience)  # whatever else it may wait for
    except subprocess.TimeoutExpired:
        return f'it took more than {60 + patience} seconds'
    if done.returncode == 0:
        return ''
    if -done.returncode == getattr(signal, 'SIGPROF', None):
        return f'it took more than {patience} seconds of the processor'
    if done.returncode < 0:
        return f'the HDF5 library died of it, by signal {-done.returncode}'
    # Where a crash is no signal, nothing may have been said.
    return (done.stderr.decode('utf-8', 'replace').strip().rpartition('\n')[2]
            or f'the HDF5 library died of it, with status {done.returncode}')


def most_unpacked(size):
    """int: how many bytes a file of `size` bytes may unpack to."""
    return max(MOST_UNPACKED, MOST_RATIO * size)


def convert(path, out):
    """Writes the arrays of an HDF5 file, and its `ATTRIBUTES`, into `out` as npz.

    What cannot be read becomes a member that is no array, but says why.
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
                except Exception as e:  # whatever the library makes of broken data
                    member.write(f'{type(e).__name__}: {e}'.encode('utf-8', 'replace'))
        z.writestr(ATTRIBUTES_MEMBER, json.dumps(
            {**_attributes(h5py, f), EMPTY_GROUPS: empty}))


def _datasets(h5py, root, empty):
    """(name, dataset) of all that hang below `root` without a link.

    Groups that hold nothing are added to `empty`.
    """
    seen = set()  # groups may hold each other

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
    """{name: its texts, or why they cannot be read} of `ATTRIBUTES`.

    Keras gives them to the root, or to the group of the weights of a whole model.
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
        raise ValueError(f'{kind.shape} of {kind.dtype}, which is no text')
    if sum(kind.shape) > MOST_TEXTS:
        raise ValueError(f'{sum(kind.shape):,} texts')
    texts = numpy.asarray(attributes[name]).ravel().tolist()
    texts = [text if isinstance(text, bytes) else text.encode('utf-8')
             for text in texts]
    return [text.decode('utf-8') for text in texts]


def limit_memory(size):
    """At most so much more memory for a file of `size` bytes, where that can be set.

    The library takes as much as a broken file says that something in it is long.
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
        # Texts of any length, of which Chainer writes none: the library may look for
        # the parts of a broken one for ever.
        raise ValueError(f'{dataset.shape} of objects')
    if dataset.shape is None:
        return
    # The reader takes the memory that the header claims.
    room = min(room, MOST_INFLATED * (dataset.id.get_storage_size() + 1000))
    if dataset.external or dataset.is_virtual or dataset.nbytes > room:
        raise ValueError(f'{dataset.shape} of {dataset.dtype} that are not there')


def _write(dataset, member):
    import numpy
    array = numpy.array(None)  # which Chainer writes without a shape
    if dataset.shape is not None:
        array = numpy.asarray(dataset[()])
    numpy.lib.format.write_array(member, array, allow_pickle=dataset.shape is None)


def _patience(path):
    return PATIENCE + os.path.getsize(path) // SLOWEST


if __name__ == '__main__':
    sys.path[:] = sys.argv[2:]
    try:
        __import__('h5py')  # which takes time of its own
        if hasattr(signal, 'setitimer'):
            signal.setitimer(signal.ITIMER_PROF, _patience(sys.argv[1]))
        limit_memory(os.path.getsize(sys.argv[1]))
        convert(sys.argv[1], sys.stdout.buffer)
        sys.stdout.flush()
    except Exception as error:
        sys.exit(f'{type(error).__name__}: {error}'.replace('\n', ' '))
