"""Compilation by LLVM, for this processor or another."""
import contextlib
import ctypes
import functools

import llvmlite.binding as llvm

from rnnlm.kernels.vector import KINDS


@functools.lru_cache(maxsize=None)
def machine():
    """Returns the `Machine` for this processor.

    Raises:
        RuntimeError: If the processor is not supported.
    """
    return Machine()


class Machine:
    """A processor to compile for: LLVM's target, and the size of its vectors.

    Args:
        triple (str): LLVM's target triple; None for this processor.
        cpu (str): LLVM's name of the processor.
        features (str): LLVM's list of features, such as '+avx2,+fma'.

    Attributes:
        lanes (int): Number of float32 elements in a vector register.
        rows (int): Number of accumulators to keep in registers.  The other registers
            hold operands; ARM has no arithmetic on operands in memory.

    Raises:
        RuntimeError: If the processor has neither AVX2 with FMA, nor is ARM64.
    """

    def __init__(self, triple=None, cpu='', features=''):
        for initialize in (llvm.initialize, llvm.initialize_native_target,
                           llvm.initialize_native_asmprinter):
            with contextlib.suppress(RuntimeError):  # automatic in newer llvmlite
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
            raise RuntimeError(
                'the processor: expected AVX2 with FMA, or ARM64, found neither')
        self._target = triple, cpu, features

    def functions(self, module, arguments):
        """Compiles a module.

        Args:
            module (llvmlite.ir.Module): The module.
            arguments (dict): {name of a function: its arguments, as for `Kernel`}.

        Returns:
            list: ctypes functions, in the order of `arguments`.
        """
        engine = llvm.create_mcjit_compiler(_parsed(module), self._target_machine())
        engine.finalize_object()
        found = []
        for name, kinds in arguments.items():
            function = ctypes.CFUNCTYPE(None, *(KINDS[kind][1] for kind, _ in kinds))(
                engine.get_function_address(name))
            function.engine = engine  # which owns the machine code
            found.append(function)
        return found

    def assembly(self, module):
        """Returns a module's assembly code (str), also for another processor."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return self._target_machine().emit_assembly(_parsed(module))

    def _target_machine(self):
        triple, cpu, features = self._target
        # A new one for each engine, because the engine takes ownership of it.
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, features=features, opt=3)


def _parsed(module):
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return parsed
