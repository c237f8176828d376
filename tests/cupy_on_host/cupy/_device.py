"""What a device does beside arithmetic: its queue, captured or not, and waiting."""
import threading

COUNT = 1  # devices


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""

    def __init__(self, name, text=''):
        super().__init__(f'{name}: {text}')
        self.status = name


class Counts:
    """How often the host waited for the device, sent to it, and gave it work.

    Attributes:
        waits (list of str): what for, each time.
        uploads (int): copies from the host.
        launches (int): pieces of work; a graph is one.
    """

    def __init__(self):
        self.all_launches = 0
        self.reset()

    def reset(self):
        """Begins anew."""
        self.waits = []
        self.uploads = 0
        self.launches = 0


counts = Counts()


def launched():
    """Counts a piece of work."""
    counts.launches += 1
    counts.all_launches += 1


_local = threading.local()


class Graph:
    """Work of a captured stream.

    Attributes:
        allocations (int): Arrays that were made meanwhile.  CuPy gives their memory to
            others once they are gone, and the graph writes there all the same.
        joined (set): Streams whose work was captured.
        apart (set): Those of them with work that nothing waits for yet.
    """

    def __init__(self):
        self._work = []
        self.allocations = 0
        self.joined = set()
        self.apart = set()

    def launch(self, stream=None):
        """Runs what was captured."""
        if stream is not None and stream.is_capturing():
            stream.graph._work.extend(self._work)
            return
        launched()
        for work in self._work:
            work()

    def upload(self, stream=None):
        """Brings the graph to the device."""


class Stream:
    """A queue of work, which is done at once unless it is captured."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        assert priority is None or -5 <= priority <= 0
        self.is_null = null
        self.ptr = 0 if null else id(self)
        self.device_id = 0
        self.graph = None  # while capturing

    def __enter__(self):
        _stack().append(self)
        return self

    def __exit__(self, *exc):
        _stack().pop()

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return hash(self.ptr)

    def use(self):
        """Makes it the current stream."""
        _stack()[-1] = self
        return self

    def synchronize(self):
        """Waits for its work."""
        wait('Stream.synchronize')

    @property
    def done(self):
        """Whether its work is done."""
        return True

    def record(self, event=None):
        """An event at its present end."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        """Lets its later work wait for an event, which may bring it into a capture."""
        if event.of.graph is not None:
            event.of.graph.apart.discard(event.of)
            if self.graph is None:
                self.graph = event.of.graph
                self.graph.joined.add(self)

    def begin_capture(self, mode=None):
        """Records the work to come."""
        if self.is_null:
            raise CUDARuntimeError('cudaErrorStreamCaptureUnsupported',
                                   'the default stream cannot be captured')
        if self.graph is not None:
            raise CUDARuntimeError('cudaErrorIllegalState', 'it is captured already')
        self.graph = Graph()
        _capturing.append(self)

    def end_capture(self):
        """The `Graph` of what was recorded."""
        if self.graph is None:
            raise CUDARuntimeError('cudaErrorIllegalState', 'it is not captured')
        graph = self.graph
        _capturing.remove(self)
        apart = graph.apart - {self}
        for stream in graph.joined | {self}:
            stream.graph = None
        if apart:
            raise CUDARuntimeError('cudaErrorStreamCaptureUnjoined',
                                   'another stream has work that nothing waits for')
        return graph

    def is_capturing(self):
        """Whether its work is recorded."""
        return self.graph is not None


_capturing = []
Stream.null = Stream(null=True)


def _stack():
    return _local.__dict__.setdefault('streams', [Stream.null])


def current_stream(device_id=-1):
    """The stream that work goes to."""
    return _stack()[-1]


class Event:
    """A place in a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.done = True
        self.record()

    def record(self, stream=None):
        """Puts it at the end of a stream."""
        self.of = stream or current_stream()
        self._place = counts.all_launches

    def synchronize(self):
        """Waits for it: an earlier one if there is work behind it, else the last."""
        wait('earlier event' if self._place < counts.all_launches else 'last event')


def enqueue(work):
    """Does the work, or records it; None or what the work returned."""
    stream = current_stream()
    if stream.graph is not None:
        stream.graph._work.append(work)
        stream.graph.joined.add(stream)
        stream.graph.apart.add(stream)
        return None
    if _capturing and stream.is_null:
        raise CUDARuntimeError('cudaErrorStreamCaptureImplicit',
                               'work for the default stream while one is captured')
    launched()
    return work()


def allocated():
    """An array was made."""
    if is_capturing():
        current_stream().graph.allocations += 1


def is_capturing():
    """Whether work is recorded."""
    return current_stream().graph is not None


def wait(what):
    """The host waits for the device."""
    if _capturing:
        raise CUDARuntimeError('cudaErrorStreamCaptureUnsupported', what)
    counts.waits.append(what)


def upload():
    """The host sends to the device."""
    if is_capturing():
        raise CUDARuntimeError('cudaErrorStreamCaptureUnsupported',
                               'a copy from memory that is not pinned')
    counts.uploads += 1


def refuse_capture(library):
    """CuPy's wrappers of some libraries do not let themselves be captured."""
    if is_capturing():
        raise NotImplementedError(f'{library} cannot be called while capturing')
