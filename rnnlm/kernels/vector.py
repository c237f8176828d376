"""A small vocabulary for writing vector kernels in LLVM's language.

`rnnlm.kernels.recurrent` says what is computed; here is how a loop, a load or a
hyperbolic tangent is said, for vectors as wide as this processor's.
"""
import contextlib
import ctypes
import math
import sys

import llvmlite.binding as llvm
from llvmlite import ir

INT = ir.IntType(64)
WORD = ir.IntType(32)
FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
POINTER = FLOAT.as_pointer()

# The arguments of kernels: i an integer, f a number, p an array of float32, d of
# float64, b of int64 and w of uint32.
KINDS = {'i': (INT, ctypes.c_int64), 'f': (FLOAT, ctypes.c_float),
         'p': (POINTER, ctypes.c_void_p), 'd': (DOUBLE.as_pointer(), ctypes.c_void_p),
         'b': (INT.as_pointer(), ctypes.c_void_p),
         'w': (WORD.as_pointer(), ctypes.c_void_p)}

# Looks at a barrier before the core is offered to another thread.
PATIENCE = 20000
GIVE_WAY = 'SwitchToThread' if sys.platform == 'win32' else 'sched_yield'

# tanh(x) = x p(x^2) / q(x^2), the minimax approximation that Eigen and XLA use, good to
# 3e-7.  The limit is the smallest x at which it gives exactly 1 in float32 with fused
# multiplications; larger ones are cut to it.  Exactly: of a saturated gate 1 - s^2 must
# be 0, since a rest of 1e-7 times weights of 1e8 would be a gradient.
TANH_LIMIT = 7.99881172180175781
TANH_P = (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05,
          5.12229709037114e-08, -8.60467152213735e-11, 2.00018790482477e-13,
          -2.76076847742355e-16)
TANH_Q = (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04,
          1.19825839466702e-06)


# exp(r) for |r| <= log(2) / 2, through the zeros of a Chebyshev polynomial, good to
# 3e-9; log(2) in two parts, the first so short that its products are exact; and what is
# added to a number below 2^22 to round it.
EXP = (1.0, 1.0, 0.5, 0.16666404902935028, 0.041666340082883835, 0.008375967852771282,
       0.0013942159712314606)
LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4
ROUNDER = 1.5 * 2 ** 23
EXP_LIMIT = -86.5


class Machine:
    """A processor: its name, and the shape of its vectors.

    Attributes:
        lanes (int): Elements of a vector.
        rows (int): Sums at once, each in a register; the others are for operands, which
            on ARM are not taken from memory.

    Args:
        triple (str): Of LLVM; None for this processor.
        cpu (str): Its name, of LLVM.
        features (str): What it has beside, of LLVM: '+avx2,+fma'.
    """

    def __init__(self, triple=None, cpu='', features=''):
        for initialize in (llvm.initialize, llvm.initialize_native_target,
                           llvm.initialize_native_asmprinter):
            with contextlib.suppress(RuntimeError):  # newer ones do it themselves
                initialize()
        has = {name[1:]: True for name in features.split(',')}
        if triple is None:
            triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
            has = llvm.get_host_cpu_features()
            features = has.flatten()
        if has.get('avx512f'):
            self.lanes, self.rows = 16, 28
        elif has.get('avx2') and has.get('fma'):
            self.lanes, self.rows = 8, 12
        elif triple.startswith(('aarch64', 'arm64')):
            self.lanes, self.rows = 4, 24
        else:
            raise RuntimeError('the processor has no AVX2 and FMA, and is not ARM64')
        self._target = triple, cpu, features

    def functions(self, module, arguments):
        """The functions of a module, to be called.

        Args:
            module (llvmlite.ir.Module): What was written.
            arguments (dict): name of a function -> its arguments, as of `Kernel`.

        Returns:
            list: of functions of ctypes, in the order of `arguments`.
        """
        engine = llvm.create_mcjit_compiler(_parsed(module), self._target_machine())
        engine.finalize_object()
        found = []
        for name, kinds in arguments.items():
            function = ctypes.CFUNCTYPE(None, *(KINDS[kind][1] for kind, _ in kinds))(
                engine.get_function_address(name))
            function.engine = engine  # the code lives as long as the function
            found.append(function)
        return found

    def assembly(self, module):
        """str: What a module becomes on the processor, which need not be this one."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return self._target_machine().emit_assembly(_parsed(module))

    def _target_machine(self):
        triple, cpu, features = self._target
        # Of its own for each engine, which comes to own it.
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, features=features, opt=3)


def _parsed(module):
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return parsed


class Kernel:
    """One function being written."""

    def __init__(self, module, name, arguments, lanes):
        self.lanes = lanes
        self.vector = ir.VectorType(FLOAT, lanes)
        function = ir.Function(module, ir.FunctionType(
            ir.VoidType(), [KINDS[kind][0] for kind, _ in arguments]), name)
        function.attributes.add('nounwind')
        self.builder = b = ir.IRBuilder(function.append_basic_block())
        self.arguments = {name: argument for (_, name), argument in zip(
            arguments, function.args)}
        self.add, self.mul, self.sub = b.add, b.mul, b.sub
        self.fadd, self.fsub, self.fmul, self.fdiv = b.fadd, b.fsub, b.fmul, b.fdiv
        self._module = module
        self._fma = self.intrinsic('fma', 3)
        self._minimum = self.intrinsic('minnum', 2)
        self._maximum = self.intrinsic('maxnum', 2)
        self._give_way = module.globals.get(GIVE_WAY) or ir.Function(
            module, ir.FunctionType(WORD, []), GIVE_WAY)

    def intrinsic(self, name, operands, vector=None):
        """A function of LLVM, of so many vectors."""
        vector = vector or self.vector
        name = f'llvm.{name}.v{vector.count}{vector.element.intrinsic_name}'
        return self._module.globals.get(name) or ir.Function(
            self._module, ir.FunctionType(vector, [vector] * operands), name)

    def int(self, value):
        return ir.Constant(INT, value)

    def constant(self, value):
        """A vector of the same number."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def at(self, pointer, *terms):
        """pointer + the sum of the terms; a tuple is a product."""
        offset = self.int(0)
        for term in terms:
            factors = term if isinstance(term, tuple) else (term,)
            product = None
            for factor in factors:
                factor = self.int(factor) if isinstance(factor, int) else factor
                product = factor if product is None else self.mul(product, factor)
            offset = self.add(offset, product)
        return self.builder.gep(pointer, [offset])

    def load(self, pointer):
        return self.builder.load(
            self.builder.bitcast(pointer, self.vector.as_pointer()), align=4)

    def prefetch(self, pointer):
        """Says that what is there will soon be loaded; it need not exist."""
        byte = ir.IntType(8).as_pointer()
        name = 'llvm.prefetch'
        function = self._module.globals.get(name) or ir.Function(
            self._module, ir.FunctionType(
                ir.VoidType(), [byte, WORD, WORD, WORD]), name)
        # To be read, for all levels of the cache, data.
        self.builder.call(function, [self.builder.bitcast(pointer, byte), *(
            ir.Constant(WORD, value) for value in (0, 3, 1))])

    def store(self, vector, pointer):
        self.builder.store(vector, self.builder.bitcast(
            pointer, self.vector.as_pointer()), align=4)

    def store_lanes(self, vector, pointer, pitch):
        """Lane k goes to pointer[k * pitch]: a column of a matrix."""
        for k in range(self.lanes):
            self.builder.store(
                self.builder.extract_element(vector, ir.Constant(WORD, k)),
                self.at(pointer, (k, pitch)))

    def broadcast(self, pointer):
        return self.spread(self.builder.load(pointer))

    def spread(self, scalar):
        """A vector of one number."""
        empty = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(empty, scalar, ir.Constant(WORD, 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(
            ir.VectorType(WORD, self.lanes), [0] * self.lanes))

    def across(self, operation, vector):
        """The lanes of a vector, brought together by an operation of two vectors."""
        half = self.lanes
        while half > 1:
            half //= 2
            vector = operation(vector, self.builder.shuffle_vector(
                vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(
                    ir.VectorType(WORD, self.lanes),
                    [(lane + half) % self.lanes for lane in range(self.lanes)])))
        return self.first(vector)

    def first(self, vector):
        """The first lane."""
        return self.builder.extract_element(vector, ir.Constant(WORD, 0))

    def maximum(self, x, y):
        """The larger; of a number and NaN the number."""
        return self.builder.call(self._maximum, [x, y])

    def fma(self, x, y, z):
        return self.builder.call(self._fma, [x, y, z])

    def shuffle(self, vectors, order):
        """Vectors of the given lanes of several vectors, laid end to end."""
        def joined(parts):
            if len(parts) == 1:
                return parts[0]
            half = len(parts) // 2
            left, right = joined(parts[:half]), joined(parts[half:])
            count = len(parts) * self.lanes
            return self.builder.shuffle_vector(left, right, ir.Constant(
                ir.VectorType(WORD, count), list(range(count))))

        whole = joined(list(vectors))
        undefined = ir.Constant(whole.type, ir.Undefined)
        return [self.builder.shuffle_vector(whole, undefined, ir.Constant(
            ir.VectorType(WORD, self.lanes), lanes)) for lanes in order]

    def tanh(self, x):
        limit = self.constant(TANH_LIMIT)
        given = x
        x = self.builder.call(self._minimum, [x, limit])
        x = self.builder.call(self._maximum, [x, self.constant(-TANH_LIMIT)])
        square = self.fmul(x, x)
        p = self._polynomial(TANH_P, square)
        q = self._polynomial(TANH_Q, square)
        # minnum and maxnum have made a number of NaN.
        return self.builder.select(
            self.builder.fcmp_unordered('uno', given, given), given,
            self.fdiv(self.fmul(x, p), q))

    def sigmoid(self, x):
        """(1 + tanh(x / 2)) / 2."""
        half = self.constant(0.5)
        return self.fma(self.tanh(self.fmul(x, half)), half, half)

    def exp(self, x):
        """exp(x) of x <= 0, to 2 units of the last place; below -86.5 as if it were."""
        b, words = self.builder, ir.VectorType(WORD, self.lanes)
        given, x = x, self.maximum(x, self.constant(EXP_LIMIT))
        rounded = self.fma(x, self.constant(1 / math.log(2)), self.constant(ROUNDER))
        whole = self.fsub(rounded, self.constant(ROUNDER))
        rest = self.fma(whole, self.constant(-LOG2_HIGH), x)
        rest = self.fma(whole, self.constant(-LOG2_LOW), rest)
        # The last bits of what was rounded are the exponent.
        exponent = b.shl(b.bitcast(rounded, words), ir.Constant(
            words, [23] * self.lanes))
        scaled = b.add(b.bitcast(self._polynomial(EXP, rest), words), exponent)
        return b.select(b.fcmp_unordered('uno', given, given), given,
                        b.bitcast(scaled, self.vector))

    def _polynomial(self, coefficients, x):
        value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.fma(value, x, self.constant(coefficient))
        return value

    @contextlib.contextmanager
    def loop(self, start, stop, *carried):
        """``for i in range(start, stop)``; yields i and what is carried round.

        The body calls `again(*values)` on what it was given, at its end.
        """
        b = self.builder
        start = self.int(start) if isinstance(start, int) else start
        stop = self.int(stop) if isinstance(stop, int) else stop
        before = b.block
        head, body, after = (
            b.function.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(INT)
        i.add_incoming(start, before)
        phis = []
        for value in carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        b.cbranch(b.icmp_signed('<', i, stop), body, after)
        b.position_at_end(body)
        loop = Loop(i, phis)
        yield loop
        i.add_incoming(b.add(i, self.int(1)), b.block)
        for phi, value in zip(phis, loop.next):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)

    @contextlib.contextmanager
    def vectors(self, n, *carried):
        """A loop over the whole vectors of n elements; its index is the first element.

        What is left of n, which is at least `lanes`, see `rest`.
        """
        whole = self.builder.sdiv(n, self.int(self.lanes))
        with self.loop(0, whole, *carried) as loop:
            loop.index = self.mul(loop.index, self.int(self.lanes))
            yield loop

    def rest(self, n):
        """The last vector of n elements, which overlaps the whole ones before it.

        Returns:
            tuple: its first element, and which of its lanes are in no whole vector.
        """
        b, words = self.builder, ir.VectorType(WORD, self.lanes)
        over = b.sub(self.int(self.lanes), b.srem(n, self.int(self.lanes)))
        lane = ir.Constant(words, list(range(self.lanes)))
        return self.sub(n, self.int(self.lanes)), b.icmp_signed(
            '>=', lane, self.spread(b.trunc(over, WORD)))

    def blocks(self, n):
        """How many vectors it takes for n elements."""
        return self.builder.sdiv(
            self.add(n, self.int(self.lanes - 1)), self.int(self.lanes))

    def smaller(self, x, y):
        return self.builder.select(self.builder.icmp_signed('<', x, y), x, y)

    def wait_for_all(self, counter, target):
        """A barrier: counts this thread in, and waits until `target` are in."""
        b = self.builder
        b.atomic_rmw('add', counter, self.int(1), 'acq_rel')
        before = b.block
        look, spin, give_way, after = (
            b.function.append_basic_block() for _ in range(4))
        b.branch(look)
        b.position_at_end(look)
        spins = b.phi(INT)
        spins.add_incoming(self.int(0), before)
        seen = b.load_atomic(counter, 'acquire', 8)
        b.cbranch(b.icmp_signed('<', seen, target), spin, after)
        b.position_at_end(spin)
        more = b.add(spins, self.int(1))
        spins.add_incoming(more, spin)
        b.cbranch(b.icmp_signed('<', more, self.int(PATIENCE)), look, give_way)
        b.position_at_end(give_way)
        # The other thread has no core to run on, or is far behind.
        b.call(self._give_way, [])
        spins.add_incoming(self.int(0), give_way)
        b.branch(look)
        b.position_at_end(after)


class Loop:
    """One loop of `Kernel.loop`."""

    def __init__(self, index, values):
        self.index, self.values, self.next = index, values, values

    def again(self, *values):
        self.next = values
