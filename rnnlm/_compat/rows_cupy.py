"""Patches for changes in CuPy."""
from rnnlm._compat.row import cupy_since, Row

ROWS = (
    Row('copy=False refuses to copy, and cupy/carray.cuh no longer includes half',
        'chainermn.communicators._memory_utility',
        'CuPy 14.0 (February 2026)',
        cupy_since(14),
        (('v = xp.array(v, copy=False, dtype=transfer_dtype)',
          'v = v.astype(transfer_dtype, copy=False)'),
         ('#include <cupy/carray.cuh>', '#include <cuda_fp16.h>'))),

    Row('without NCCL, cupy.cuda.nccl is an empty module that Chainer takes for NCCL',
        'chainer.training.updaters.multiprocess_parallel_updater',
        'CuPy 9.0 (April 2021: it warns too, and Chainer always imports it)',
        cupy_since(9),
        (('    from cupy.cuda import nccl\n', '    nccl = _patches.nccl()\n'),)),

    Row('ndarray.scatter_add is deprecated',
        'chainer.functions.array.get_item',
        'CuPy 14.0 (February 2026)',
        cupy_since(14),
        (('gx.scatter_add(slices, inputs[0])', 'xp.add.at(gx, slices, inputs[0])'),)),

    Row('cupy.cuda.nvtx_enabled is deprecated',
        'chainer.function_hooks.cuda_profile',
        'CuPy 8.0 (2020)',
        cupy_since(8),
        (('cupy.cuda.nvtx_enabled', 'cupy.cuda.nvtx.available'),)),

    Row('CuPy without cuDNN prints how to install it when it is imported, and '
        'Chainer asks to reinstall CuPy',
        'chainer.backends.cuda',
        'CuPy 9.0 (April 2021; removed in 14.0, February 2026)',
        cupy_since(9),
        # A language model does not use cuDNN, and CuPy's manual has the right advice.
        (('            import cupy.cuda.cudnn\n        import cupy.cudnn\n',
          "            _patches.quietly('cupy.cuda.cudnn')\n"
          "        _patches.quietly('cupy.cudnn')\n"),
         ('not _cudnn_disabled_by_user and\n',
          'not _cudnn_disabled_by_user and _cupy_major < 9 and\n'))),
)
