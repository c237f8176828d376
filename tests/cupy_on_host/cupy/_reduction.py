"""`ReductionKernel`: its C++ as two loops of the host."""
import numpy

from cupy import _device
from cupy._array import ndarray
from cupy._compile import (
    check_arguments, compiled, ctype, decide_types, declarations, dtype_of, elements,
    info, parameters, typedefs)


class ReductionKernel:
    """As `cupy.ReductionKernel`."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr,
                 identity, name='reduce_kernel', reduce_type=None, reduce_dims=True,
                 preamble='', options=()):
        self.in_params = parameters(in_params, True)
        self.out_params = parameters(out_params, False)
        self.nin, self.nout = len(self.in_params), len(self.out_params)
        self.name = self.__name__ = name
        self._type = reduce_type or ctype(self.out_params[0])
        self._exprs = map_expr, reduce_expr, post_map_expr
        self._identity, self._preamble = identity, preamble

    def __call__(self, *args, out=None, axis=None, keepdims=False, stream=None):
        if len(args) not in (self.nin, self.nin + self.nout):
            raise TypeError(f'Wrong number of arguments for {self.name!r}: {len(args)}')
        check_arguments(args)
        ins, outs = list(args[:self.nin]), list(args[self.nin:])
        outs = outs if out is None else [out]
        types = decide_types([*zip(self.out_params, outs), *zip(self.in_params, ins)])
        shape = numpy.broadcast_shapes(*(
            arg.shape for p, arg in zip(self.in_params, ins)
            if isinstance(arg, ndarray) and not p.raw))
        axes = range(len(shape)) if axis is None else (
            axis if isinstance(axis, tuple) else (axis,))
        axes = sorted(a % len(shape) for a in axes)
        rest = [a for a in range(len(shape)) if a not in axes]
        out_shape = tuple(shape[a] for a in rest)
        shown = tuple(1 if a in axes else size for a, size in enumerate(shape))
        if not outs:
            outs = [ndarray(shown if keepdims else out_shape, dtype_of(p, types))
                    for p in self.out_params]
        self._enqueue(ins, outs, types, shape, axes + rest, out_shape)
        return outs[0] if self.nout == 1 else tuple(outs)

    def _enqueue(self, ins, outs, types, shape, order, out_shape):
        hosts = []
        for p, arg in zip(self.in_params, ins):
            if not isinstance(arg, ndarray):
                hosts.append(numpy.array(arg, dtype_of(p, types)))
            elif p.raw:
                hosts.append(arg._host)
            else:  # reduced axes first, as in CuPy
                hosts.append(numpy.broadcast_to(arg._host, shape).transpose(order))
        in_shape = tuple(shape[a] for a in order)
        hosts += [out._host.reshape(out_shape) for out in outs]
        is_array = tuple(isinstance(arg, ndarray) for arg in ins + outs)
        run = compiled(self._source(is_array, types))
        table = info(hosts + [numpy.broadcast_to(numpy.int8(0), in_shape),
                              numpy.broadcast_to(numpy.int8(0), out_shape)])
        at = table.ctypes.data
        indexers = at + (len(table) - 2) * table.itemsize

        def work(kept=(table, hosts)):
            run(at, indexers)
        _device.enqueue(work)

    def _source(self, is_array, types):
        map_expr, reduce_expr, post_map_expr = self._exprs
        params = self.in_params + self.out_params
        return f'''{typedefs(types)}
typedef {self._type} _type_reduce;
{self._preamble}
extern "C" void run(const Info* _infos, const Info* _indexers) {{
{declarations(params, is_array)}
CIndexer _in_ind{{_indexers}}, _out_ind{{_indexers + 1}};
for (ptrdiff_t _i = 0; _i < _out_ind.size(); ++_i) {{
_type_reduce _s = _type_reduce({self._identity});
for (ptrdiff_t _j = _i; _j < _in_ind.size(); _j += _out_ind.size()) {{
_in_ind.set(_j);
{elements(self.in_params, is_array, '_in_ind')}
_type_reduce a = _s, b = static_cast<_type_reduce>({map_expr});
_s = ({reduce_expr});
}}
_out_ind.set(_i);
{elements(self.out_params, is_array[self.nin:], '_out_ind')}
_type_reduce a = _s;
{post_map_expr};
}}
}}'''
