"""`ElementwiseKernel`: its C++ as a loop of the host."""
import numpy

from cupy import _device
from cupy._array import ndarray
from cupy._compile import (
    check_arguments, compiled, decide_types, declarations, dtype_of, elements, info,
    parameters, typedefs)


class ElementwiseKernel:
    """As `cupy.ElementwiseKernel`, and as strict about its arguments."""

    def __init__(self, in_params, out_params, operation, name='kernel',
                 reduce_dims=True, preamble='', no_return=False, return_tuple=False,
                 **kwargs):
        unknown = set(kwargs) - {'loop_prep', 'after_loop', 'options'}
        if unknown:
            raise TypeError(f'Wrong arguments {unknown}')
        self.in_params = parameters(in_params, True)
        self.out_params = parameters(out_params, False)
        self.nin, self.nout = len(self.in_params), len(self.out_params)
        self.name = self.__name__ = name
        self.no_return, self.return_tuple = no_return, return_tuple
        self._operation, self._preamble = operation, preamble
        self._prep = kwargs.get('loop_prep', ''), kwargs.get('after_loop', '')
        self._runs = {}

    def __call__(self, *args, size=-1, stream=None, block_size=128):
        if len(args) not in (self.nin, self.nin + self.nout):
            raise TypeError(f'Wrong number of arguments for {self.name!r}: {len(args)}')
        check_arguments(args)
        ins, outs = list(args[:self.nin]), list(args[self.nin:])
        types = decide_types([*zip(self.out_params, outs), *zip(self.in_params, ins)])
        shape = self._loop_shape(ins, outs, size)
        if not outs:
            if size != -1 and any(p.raw for p in self.out_params):
                raise ValueError('Output array size is Undecided')
            outs = [ndarray(shape, dtype_of(p, types)) for p in self.out_params]
        for p, out in zip(self.out_params, outs):
            if not isinstance(out, ndarray):
                raise TypeError('Output arguments type must be cupy.ndarray')
            if not p.raw and out.shape != shape:
                raise ValueError(f'Out shape is mismatched: {out.shape}, {shape}')
        if 0 not in shape:
            self._enqueue(ins + outs, types, shape)
        if self.no_return:
            return None
        return outs[0] if self.nout == 1 and not self.return_tuple else tuple(outs)

    def _loop_shape(self, ins, outs, size):
        shapes = [arg.shape for p, arg in zip(self.in_params + self.out_params,
                                              ins + outs)
                  if isinstance(arg, ndarray) and not p.raw]
        if size != -1:
            if shapes:
                raise ValueError('size is for kernels whose arrays are all raw')
            return size,
        if not shapes:
            raise ValueError('Loop size is undecided.')
        return numpy.broadcast_shapes(*shapes)

    def _enqueue(self, args, types, shape):
        params = self.in_params + self.out_params
        hosts = []
        for p, arg in zip(params, args):
            if not isinstance(arg, ndarray):
                # As CuPy 14: a number that the type cannot hold is refused.
                hosts.append(numpy.array(arg, dtype_of(p, types)))
            elif p.raw:
                hosts.append(arg._host)
            else:
                # A view that may be written to; the address is all that is used.
                hosts.append(numpy.lib.stride_tricks.as_strided(
                    arg._host, shape, numpy.broadcast_to(arg._host, shape).strides))
        is_array = tuple(isinstance(arg, ndarray) for arg in args)
        key = is_array, tuple(sorted((k, str(t)) for k, t in types.items()))
        if key not in self._runs:
            self._runs[key] = compiled(self._source(params, is_array, types))
        run = self._runs[key]
        table = info(hosts + [numpy.broadcast_to(numpy.int8(0), shape)])
        at = table.ctypes.data
        indexer = at + (len(table) - 1) * table.itemsize

        def work(kept=(table, hosts, args)):
            run(at, indexer)
        _device.enqueue(work)

    def _source(self, params, is_array, types):
        return f'''{typedefs(types)}
{self._preamble}
extern "C" void run(const Info* _infos, const Info* _indexers) {{
{declarations(params, is_array)}
CIndexer _ind{{_indexers}};
const ptrdiff_t n = _ind.size();
{self._prep[0]};
for (ptrdiff_t i = 0; i < n; ++i) {{
_ind.set(i);
{elements(params, is_array, '_ind')}
{self._operation};
}}
{self._prep[1]};
}}'''
