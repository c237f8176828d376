"""A small vocabulary for writing vector kernels in LLVM's language.

`rnnlm.kernels.recurrent` says what is computed; here is how a loop, a load or a
hyperbolic tangent is said, for vectors as wide as this processor's.
"""
import contextlib
import sys

import llvmlite.binding as llvm
from llvmlite import ir

INT = ir.IntType(64)
FLOAT = ir.FloatType()
POINTER = FLOAT.as_pointer()

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


class Machine:
    """This processor: its name, and the shape of its vectors."""

    def __init__(self):
        for initialize in (llvm.initialize, llvm.initialize_native_target,
                           llvm.initialize_native_asmprinter):
            with contextlib.suppress(RuntimeError):  # newer ones do it themselves
                initialize()
        features = llvm.get_host_cpu_features()
        if features.get('avx512f'):
            self.lanes, registers = 16, 32
        elif features.get('avx2') and features.get('fma'):
            self.lanes, registers = 8, 16
        elif llvm.get_process_triple().startswith(('aarch64', 'arm64')):
            self.lanes, registers = 4, 32
        else:
            raise RuntimeError('the processor has no AVX2 and FMA, and is not ARM64')
        self.rows = registers - 4  # accumulators at once; the rest is for operands
        self._features = features.flatten()

    def compile(self, module):
        """An engine that holds the machine code of a module; keep it alive."""
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        # Of its own for each engine, which comes to own it.
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=self._features, opt=3)
        engine = llvm.create_mcjit_compiler(parsed, target)
        engine.finalize_object()
        return engine


class Kernel:
    """One function being written."""

    def __init__(self, module, name, arguments, lanes):
        self.lanes = lanes
        self.vector = ir.VectorType(FLOAT, lanes)
        kinds = {'p': POINTER, 'i': INT, 'b': INT.as_pointer()}
        function = ir.Function(module, ir.FunctionType(
            ir.VoidType(), [kinds[kind] for kind, _ in arguments]), name)
        function.attributes.add('nounwind')
        self.builder = b = ir.IRBuilder(function.append_basic_block())
        self.arguments = {name: argument for (_, name), argument in zip(
            arguments, function.args)}
        self.add, self.mul, self.sub = b.add, b.mul, b.sub
        self.fadd, self.fsub, self.fmul, self.fdiv = b.fadd, b.fsub, b.fmul, b.fdiv
        self._fma = self._intrinsic(module, 'fma', 3)
        self._minimum = self._intrinsic(module, 'minnum', 2)
        self._maximum = self._intrinsic(module, 'maxnum', 2)
        self._give_way = module.globals.get(GIVE_WAY) or ir.Function(
            module, ir.FunctionType(ir.IntType(32), []), GIVE_WAY)

    def _intrinsic(self, module, name, operands):
        name = f'llvm.{name}.v{self.lanes}f32'
        return module.globals.get(name) or ir.Function(
            module, ir.FunctionType(self.vector, [self.vector] * operands), name)

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

    def store(self, vector, pointer):
        self.builder.store(vector, self.builder.bitcast(
            pointer, self.vector.as_pointer()), align=4)

    def store_lanes(self, vector, pointer, pitch):
        """Lane k goes to pointer[k * pitch]: a column of a matrix."""
        for k in range(self.lanes):
            self.builder.store(
                self.builder.extract_element(vector, ir.Constant(ir.IntType(32), k)),
                self.at(pointer, (k, pitch)))

    def broadcast(self, pointer):
        scalar = self.builder.load(pointer)
        empty = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(
            empty, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(
            ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes))

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
                ir.VectorType(ir.IntType(32), count), list(range(count))))

        whole = joined(list(vectors))
        undefined = ir.Constant(whole.type, ir.Undefined)
        return [self.builder.shuffle_vector(whole, undefined, ir.Constant(
            ir.VectorType(ir.IntType(32), self.lanes), lanes)) for lanes in order]

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
