"""Code generation for SIMD kernels in LLVM IR, through llvmlite.

`Kernel` builds one function: vector loads and stores, loops, tanh, sigmoid, exp, and a
barrier for threads.  `rnnlm.kernels.machine` compiles it.  The kernels themselves are
in `recurrent`, `one_stream`, `output`, `sgd` and `twister`.

LLVM IR has no variables that change, only values (static single assignment).  So a loop
passes values from one iteration to the next explicitly; see `Kernel.loop`.
"""
import contextlib
import ctypes
import math
import sys

from llvmlite import ir

INT = ir.IntType(64)
WORD = ir.IntType(32)
FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
POINTER = FLOAT.as_pointer()

# Types of kernel arguments: i is an int64, f a float32; p, d, b and w are pointers to
# float32, float64, int64 and uint32.
KINDS = {'i': (INT, ctypes.c_int64), 'f': (FLOAT, ctypes.c_float),
         'p': (POINTER, ctypes.c_void_p), 'd': (DOUBLE.as_pointer(), ctypes.c_void_p),
         'b': (INT.as_pointer(), ctypes.c_void_p),
         'w': (WORD.as_pointer(), ctypes.c_void_p)}

# Iterations of a spin loop before it yields the core to another thread.
SPINS = 20000
# A value of a barrier's counter that is above every target: ends all waits.
ALL_IN = 2 ** 62

YIELD = 'SwitchToThread' if sys.platform == 'win32' else 'sched_yield'

# tanh(x) = x p(x^2) / q(x^2), the rational minimax approximation of Eigen and XLA, with
# an error of at most 3e-7.  x is clamped to the limit, the smallest x for which the
# result is exactly 1 in float32 with FMA.  It must be exact, so that the derivative of
# a saturated gate, 1 - tanh^2, is 0: an error of 1e-7 times a weight of 1e8 would be a
# wrong gradient.
TANH_LIMIT = 7.99881172180175781
TANH_P = (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05,
          5.12229709037114e-08, -8.60467152213735e-11, 2.00018790482477e-13,
          -2.76076847742355e-16)
TANH_Q = (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04,
          1.19825839466702e-06)

# exp(x) = 2^k exp(r), with k = round(x / log(2)), r = x - k log(2), |r| <= log(2) / 2.
# - EXP: polynomial for exp(r), interpolated at Chebyshev nodes, error at most 3e-9.
# - LOG2_HIGH + LOG2_LOW: log(2), split so that k times the first is exact (Cody and
#   Waite, "Software Manual for the Elementary Functions", 1980).
# - ROUNDER: adding and subtracting it rounds a float32 below 2^22 to an integer.
EXP = (1.0, 1.0, 0.5, 0.16666404902935028, 0.041666340082883835, 0.008375967852771282,
       0.0013942159712314606)
LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440e-4
ROUNDER = 1.5 * 2 ** 23
EXP_LIMIT = -86.5


class Kernel:
    """Builder of one function without a result, for vectors of float32.

    Args:
        module (llvmlite.ir.Module): The module to add the function to.
        name (str): Name of the function.
        arguments: A pair (kind, name) for each argument, kind a key of `KINDS`.
        lanes (int): Number of elements in a vector.

    Attributes:
        arguments (dict): {name: value} of the function's arguments.
        builder (llvmlite.ir.IRBuilder): The builder, at the end of the function.
    """

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
        self._yield_cpu = module.globals.get(YIELD) or ir.Function(
            module, ir.FunctionType(WORD, []), YIELD)

    def intrinsic(self, name, operands, vector=None):
        """Declares an intrinsic of LLVM on vectors, with that many operands."""
        vector = vector or self.vector
        name = f'llvm.{name}.v{vector.count}{vector.element.intrinsic_name}'
        return self._module.globals.get(name) or ir.Function(
            self._module, ir.FunctionType(vector, [vector] * operands), name)

    def int(self, value):
        return ir.Constant(INT, value)

    def constant(self, value):
        """Returns a vector with the same constant in all lanes."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def at(self, pointer, *terms):
        """Returns pointer + the sum of the terms, in elements; a tuple is a product.

        For example ``at(p, (row, n), j)`` is the address of p[row, j], n columns.
        """
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
        """Prefetches a cache line; the address may be invalid."""
        byte = ir.IntType(8).as_pointer()
        name = 'llvm.prefetch'
        function = self._module.globals.get(name) or ir.Function(
            self._module, ir.FunctionType(
                ir.VoidType(), [byte, WORD, WORD, WORD]), name)
        # For reading, into all cache levels, as data.
        self.builder.call(function, [self.builder.bitcast(pointer, byte), *(
            ir.Constant(WORD, value) for value in (0, 3, 1))])

    def store(self, vector, pointer):
        self.builder.store(vector, self.builder.bitcast(
            pointer, self.vector.as_pointer()), align=4)

    def store_lanes(self, vector, pointer, pitch):
        """Stores lane k at pointer[k * pitch]: scatters to a column of a matrix."""
        for k in range(self.lanes):
            self.builder.store(
                self.builder.extract_element(vector, ir.Constant(WORD, k)),
                self.at(pointer, (k, pitch)))

    def load_splat(self, pointer):
        """Loads one number into all lanes of a vector."""
        return self.splat(self.builder.load(pointer))

    def splat(self, scalar):
        """Returns a vector with a scalar in all lanes."""
        empty = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(empty, scalar, ir.Constant(WORD, 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(
            ir.VectorType(WORD, self.lanes), [0] * self.lanes))

    def reduce(self, operation, vector):
        """Reduces the lanes of a vector to a scalar, halving the vector each time."""
        half = self.lanes
        while half > 1:
            half //= 2
            vector = operation(vector, self.builder.shuffle_vector(
                vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(
                    ir.VectorType(WORD, self.lanes),
                    [(lane + half) % self.lanes for lane in range(self.lanes)])))
        return self.first(vector)

    def first(self, vector):
        """Returns the first lane of a vector."""
        return self.builder.extract_element(vector, ir.Constant(WORD, 0))

    def maximum(self, x, y):
        """Returns the maximum of each lane; of a number and NaN, the number."""
        return self.builder.call(self._maximum, [x, y])

    def fma(self, x, y, z):
        return self.builder.call(self._fma, [x, y, z])

    def shuffle(self, vectors, order):
        """Permutes the lanes of several vectors.

        Args:
            vectors: The vectors; their lanes are numbered consecutively.
            order: For each result, the numbers of its lanes.
        """
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
        """Returns tanh(x), with NaN for NaN."""
        limit = self.constant(TANH_LIMIT)
        given = x
        x = self.builder.call(self._minimum, [x, limit])
        x = self.builder.call(self._maximum, [x, self.constant(-TANH_LIMIT)])
        square = self.fmul(x, x)
        p = self._polynomial(TANH_P, square)
        q = self._polynomial(TANH_Q, square)
        # minnum and maxnum have replaced NaN by a number.
        return self.builder.select(
            self.builder.fcmp_unordered('uno', given, given), given,
            self.fdiv(self.fmul(x, p), q))

    def sigmoid(self, x):
        """Returns sigmoid(x) = (1 + tanh(x / 2)) / 2."""
        half = self.constant(0.5)
        return self.fma(self.tanh(self.fmul(x, half)), half, half)

    def exp(self, x):
        """Returns exp(x) for x <= 0, to 2 ulp; x is clamped to -86.5."""
        b, words = self.builder, ir.VectorType(WORD, self.lanes)
        given, x = x, self.maximum(x, self.constant(EXP_LIMIT))
        rounded = self.fma(x, self.constant(1 / math.log(2)), self.constant(ROUNDER))
        whole = self.fsub(rounded, self.constant(ROUNDER))
        rest = self.fma(whole, self.constant(-LOG2_HIGH), x)
        rest = self.fma(whole, self.constant(-LOG2_LOW), rest)
        # The low bits of `rounded` are k: adding k to the exponent multiplies by 2^k.
        exponent = b.shl(b.bitcast(rounded, words), ir.Constant(
            words, [23] * self.lanes))
        scaled = b.add(b.bitcast(self._polynomial(EXP, rest), words), exponent)
        return b.select(b.fcmp_unordered('uno', given, given), given,
                        b.bitcast(scaled, self.vector))

    def _polynomial(self, coefficients, x):
        """Evaluates a polynomial by Horner's scheme; the constant term comes first."""
        value = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.fma(value, x, self.constant(coefficient))
        return value

    @contextlib.contextmanager
    def loop(self, start, stop, *carried):
        """Builds ``for i in range(start, stop)``, within a context.

        Args:
            start, stop: Integers, of Python or LLVM.
            carried: Initial values of loop-carried values, such as accumulators.

        Yields:
            Loop: The index, and the carried values of this iteration.  The body calls
            `Loop.again` with those for the next one.  After the context `Loop.values`
            are the final ones.
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
        """Builds a loop over the complete vectors in n elements, n >= lanes.

        The index is that of the vector's first element.  For the remaining elements see
        `last_vector`.
        """
        whole = self.builder.sdiv(n, self.int(self.lanes))
        with self.loop(0, whole, *carried) as loop:
            loop.index = self.mul(loop.index, self.int(self.lanes))
            yield loop

    def last_vector(self, n):
        """Returns the last vector of n elements, which overlaps the complete ones.

        So any n >= lanes needs no scalar loop for the remainder.

        Returns:
            tuple: Index of its first element, and a mask of the lanes that are in no
            complete vector.
        """
        b, words = self.builder, ir.VectorType(WORD, self.lanes)
        over = b.sub(self.int(self.lanes), b.srem(n, self.int(self.lanes)))
        lane = ir.Constant(words, list(range(self.lanes)))
        return self.sub(n, self.int(self.lanes)), b.icmp_signed(
            '>=', lane, self.splat(b.trunc(over, WORD)))

    def blocks(self, n):
        """Returns the number of vectors that cover n elements: ceil(n / lanes)."""
        return self.builder.sdiv(
            self.add(n, self.int(self.lanes - 1)), self.int(self.lanes))

    def minimum_int(self, x, y):
        return self.builder.select(self.builder.icmp_signed('<', x, y), x, y)

    def barrier(self, counter, target):
        """Builds a spin barrier: waits until `target` arrivals have been counted.

        Acquire and release order memory: what any thread wrote before the barrier is
        visible to all threads after it.
        """
        b = self.builder
        b.atomic_rmw('add', counter, self.int(1), 'acq_rel')
        before = b.block
        look, spin, yield_cpu, after = (
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
        b.cbranch(b.icmp_signed('<', more, self.int(SPINS)), look, yield_cpu)
        b.position_at_end(yield_cpu)
        # The missing thread may be waiting for a core.
        b.call(self._yield_cpu, [])
        spins.add_incoming(self.int(0), yield_cpu)
        b.branch(look)
        b.position_at_end(after)


class Loop:
    """One loop of `Kernel.loop`.

    Attributes:
        index: The loop index.
        values: The loop-carried values of the current iteration.
    """

    def __init__(self, index, values):
        self.index, self.values, self.next = index, values, values

    def again(self, *values):
        """Sets the loop-carried values for the next iteration."""
        self.next = values
