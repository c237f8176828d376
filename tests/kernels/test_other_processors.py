"""The kernels for other processors: the assembly that LLVM generates."""
import re

import pytest

pytest.importorskip('llvmlite')
from rnnlm.kernels import one_stream, output, recurrent, sgd, twister  # noqa: E402
from rnnlm.kernels.machine import Machine  # noqa: E402

# For each processor its lanes, what multiplies and adds vectors, and what takes one
# from the stack, because the registers did not suffice, or puts it there.
PROCESSORS = {
    'AVX-512': (('x86_64-unknown-linux-gnu', 'skylake-avx512',
                 '+avx512f,+avx512vl,+avx512dq,+avx512bw,+fma,+avx2'), 16,
                r'vfn?m(add|sub)\d+ps\b.*%zmm', r'^\s*v.*\(%rsp'),
    'AVX2': (('x86_64-unknown-linux-gnu', 'haswell', '+avx2,+fma'), 8,
             r'vfn?m(add|sub)\d+ps\b.*%ymm', r'^\s*v.*\(%rsp'),
    'NEON': (('aarch64-unknown-linux-gnu', 'generic', '+neon'), 4,
             r'fml[as]\s+v\d+\.4s', r'^\s*(?:ld|st)[rp]\s+q.*\[sp'),
    'Apple': (('arm64-apple-darwin', 'apple-m1', '+neon'), 4,
              r'fml[as]\.4s', r'^\s*(?:ld|st)[rp]\s+q.*\[sp'),
}
CALL = re.compile(
    r'^\s*(?:callq?|bl|b|jmp)\s+\*?_?(?!L[A-Z]*BB)([a-zA-Z]\w*)', re.MULTILINE)


@pytest.fixture(params=PROCESSORS)
def processor(request):
    target, lanes, fma, stack = PROCESSORS[request.param]
    machine = Machine(*target)
    assert machine.lanes == lanes
    return machine, re.compile(fma), re.compile(stack, re.MULTILINE)


def blocks_of(assembly):
    """The pieces between labels and jumps: the bodies of inner loops among them."""
    return re.split(
        r'^\.?\w+:.*$|^\s*(?:j\w+|b\.\w+|cb\w+|tb\w+)\s.*$', assembly,
        flags=re.MULTILINE)


def test_all_kernels_are_of_vectors_and_call_nothing(processor):
    machine, fma, _ = processor
    for module, least in ((recurrent.module(machine, 6), 4 * 6 + 30),
                          (output.module(machine), 2 * 2 * 8), (sgd.module(machine), 0),
                          (twister.module(machine), 0),
                          (one_stream.module(machine), 3 * 4)):
        assembly = machine.assembly(module)
        # Of nothing but the system's scheduler; of no exponential, maximum or product
        # of single numbers, which is what LLVM makes of a vector that it cannot have.
        assert set(CALL.findall(assembly)) <= {'sched_yield', 'SwitchToThread'}
        assert len(fma.findall(assembly)) >= least


@pytest.mark.parametrize('rows', ['all', 5, 1])
def test_products_keep_their_sums_in_registers(processor, rows):
    """Their loops have one multiplication a sum, and take nothing from the stack."""
    machine, fma, stack = processor
    count = machine.rows if rows == 'all' else rows
    assembly = machine.assembly(recurrent.module(machine, count))
    sums = count * -(-recurrent.INDEPENDENT_SUMS // count)
    inner = [block for block in blocks_of(assembly)
             if len(fma.findall(block)) == sums and 'div' not in block]
    assert len(inner) >= 4 + 2  # of the gates, and of what goes back
    for block in inner:
        assert not stack.search(block), block
