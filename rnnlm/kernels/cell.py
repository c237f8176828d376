"""Generated code that the LSTM kernels share: the equations of a cell, blocks of units.

A block is `lanes` units, a vector register.  The last block ends at the last unit and
overlaps the previous one, so no remainder loop is needed.
"""


def lstm_cell(k, z, c_before):
    """Builds the gates and the state of a block from its pre-activations.

    Args:
        k (rnnlm.kernels.vector.Kernel): The kernel.
        z: The 4 vectors of pre-activations, interleaved: a, i, f, o of the first unit,
            of the second, and so on.
        c_before: The cell states of the previous step.

    Returns:
        tuple: The list of the gates a, i, f and o; then c, tanh(c) and h.
    """
    z = k.shuffle(z, [[4 * lane + gate for lane in range(k.lanes)]
                      for gate in range(4)])
    gates = [k.tanh(z[0])] + [k.sigmoid(x) for x in z[1:]]
    a, i, f, o = gates
    c = k.fma(f, c_before, k.fmul(a, i))
    tanh_c = k.tanh(c)
    return gates, c, tanh_c, k.fmul(o, tanh_c)


def part_of_thread(k, count):
    """Returns the part (start, stop) of range(count) that this thread computes."""
    a = k.arguments
    return [k.builder.sdiv(k.mul(count, thread), a['threads'])
            for thread in (a['thread'], k.add(a['thread'], k.int(1)))]


def first_unit(k, block):
    """Returns the first unit of a block."""
    return k.minimum_int(k.mul(block, k.int(k.lanes)),
                         k.sub(k.arguments['n'], k.int(k.lanes)))
