"""Partition of the persistent kernels' work, for a size of layer and a GPU."""
import functools
import typing

THREADS = 256, 512  # in a block: the smaller one that covers its units and rows
QUAD = 4  # float32 numbers in 16 bytes
BYTES = 4
GROUPS = 4  # of units, backward: a block then reads as much per step as forward
STAGES = 3  # chunks of streamed weights in shared memory
CHUNK_BYTES = 16 * 1024  # a chunk has at least this many, if shared memory allows
MOST_TILE = 8
MOST_SUMS = 40  # accumulators of a thread, in registers


class Plan(typing.NamedTuple):
    """Constants of `persistent.cuh`, and the size of the launch.

    Attributes:
        blocks (int): Number of blocks, all running concurrently.
        threads (int): Threads in a block.
        shared (int): Bytes of shared memory in a block.
        defines (tuple of str): 'NAME=VALUE' for the compiler.
        exchange (tuple of int): Shape of what each step gives to all blocks.
        streamed (int): Elements of the weights that do not fit into shared memory, in
            global memory.
    """
    blocks: int
    threads: int
    shared: int
    defines: typing.Tuple[str, ...]
    exchange: typing.Tuple[int, ...]
    streamed: int


@functools.lru_cache(maxsize=256)
def forward(n, B, multiprocessors, shared_per_block):
    """Plans the forward kernel for n units and B rows; None if it does not fit.

    A block has the lateral weights (all n columns) of its units' gates.
    """
    own = -(-n // multiprocessors)
    inner = _up(n, QUAD)
    return _plan(n, B, own, 4 * own, inner, -(-n // own), shared_per_block, (B, inner))


@functools.lru_cache(maxsize=256)
def backward(n, B, multiprocessors, shared_per_block):
    """Plans the backward kernel; None if it does not fit.

    The lateral weights are split both ways: a block has the gates of one of `GROUPS`
    groups of units, and some of the n columns.
    """
    group = -(-n // GROUPS)
    rows = -(-n // max(1, multiprocessors // GROUPS))
    blocks = GROUPS * -(-n // rows)
    if blocks > multiprocessors:
        return None
    return _plan(n, B, -(-rows // GROUPS), rows, 4 * group, blocks, shared_per_block,
                 (B, GROUPS, 4 * group), GROUPS=GROUPS, GROUP=group)


def _plan(n, B, own, rows, inner, blocks, shared_per_block, exchange, **more):
    threads = next((count for count in THREADS if own * B <= count), None)
    tile = threads and _tile(rows, B, inner, threads)
    if not tile:
        return None
    tile_r, tile_b, parts = tile
    rows_up, b_up = _up(rows, tile_r), _up(B, tile_b)
    quads = inner // QUAD
    operand = max(b_up * _line(quads), parts * rows_up * b_up)
    split = _split(quads, rows_up, parts, shared_per_block // BYTES - operand)
    if not split:
        return None
    resident, chunk, chunks = split
    shared = BYTES * (operand + _stored(rows_up, resident, chunk))
    constants = dict(N=n, B=B, THREADS=threads, OWN=own, ROWS=rows, INNER=inner,
                     TILE_R=tile_r, TILE_B=tile_b, ROWS_UP=rows_up, B_UP=b_up,
                     PARTS=parts, RESIDENT=resident, CHUNK=chunk, CHUNKS=chunks,
                     STAGES=STAGES, **more)
    return Plan(blocks, threads, shared,
                tuple(f'{k}={v}' for k, v in constants.items()), exchange,
                blocks * rows_up * QUAD * chunk * chunks)


def _split(quads, rows_up, parts, space):
    """Returns the resident quads, and the quads and number of chunks; or None.

    Args:
        quads (int): Columns of the weights, in groups of four.
        rows_up (int): Their rows.
        parts (int): A chunk is a multiple of them, so that all threads work on it.
        space (int): Elements that fit into shared memory.
    """
    if _stored(rows_up, quads, 0) <= space:
        return quads, 0, 0
    turns = -(-CHUNK_BYTES // (BYTES * QUAD * rows_up * parts))
    for chunk in range(turns * parts, 0, -parts):
        for chunks in range(1, quads // chunk + 1):
            if _stored(rows_up, quads - chunks * chunk, chunk) <= space:
                return quads - chunks * chunk, chunk, chunks
    return None


def _stored(rows_up, resident, chunk):
    """Returns the elements of weights in shared memory."""
    ring = STAGES * _line(chunk) if chunk else 0
    return rows_up * (_line(resident) + ring)


def _line(quads):
    """Returns the elements of a line, an odd number of quads, as in the source."""
    return QUAD * (quads + 1 - quads % 2)


def _tile(rows, B, inner, threads):
    """Returns the (rows, columns, parts) with the fewest estimated cycles, or None."""
    best = None
    for r in range(1, MOST_TILE + 1):
        for b in range(1, MOST_TILE + 1):
            tiles = -(-rows // r) * -(-B // b)
            if r * b > MOST_SUMS or tiles > threads:
                continue
            parts = threads // tiles
            turns = -(-(inner // QUAD) // parts)
            # Of a thread: for each turn products, 16-byte reads, which all warps share,
            # and waiting; then sums of all parts are written and read again.  The
            # weights of the four terms are from measurements on an H100.
            sums = parts * _up(rows, r) * _up(B, b) / threads
            cycles = turns * (QUAD * r * b + 4 * (r + b) + 20) + 16 * sums
            if best is None or cycles < best[0]:
                best = cycles, (r, b, parts)
    return best and best[1]


def _up(x, to):
    return -(-x // to) * to
