"""Benchmarks speed and memory on a GPU; writes a section of RESULTS.md.

    python benchmarks/gpu.py                  everything (under 9 minutes on an H100)
    python benchmarks/gpu.py --parts machine,same,training --sizes medium
    python benchmarks/gpu.py --sizes large --add
                                              only a size, whose results replace those
                                              in gpu.json
    python benchmarks/gpu.py --write          writes the section again, from gpu.json

Parts: machine (its description, copy rate and product rates), same (whether all
implementations agree), training, kernels (a single layer), epoch, memory, mixed, tests
(the project's tests that need a GPU).  Each part runs in a process of its own with a
time limit, so a kernel that hangs or crashes the device only affects its part.  Results
are printed at once, and stored in --json FILE after each measurement.  Implementations
with wrong results are not measured.

PyTorch is measured too if it is installed.  RNNLM_PTB_DIR names a folder with the Penn
Treebank for the epoch; without it, the epoch has random words.
"""
import argparse
import dataclasses
import logging
import os
import subprocess
import sys
import tempfile
import time

import common
import report_gpu
import report_pictures

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = [sys.executable, os.path.abspath(__file__)]
KEPT = os.path.join(HERE, 'gpu.json')

# Part -> the most seconds that it may take.
# The tests come last: they have the time that is left, and kernels compiled before.
PARTS = {'machine': 60, 'same': 80, 'training': 200, 'kernels': 60, 'epoch': 60,
         'memory': 60, 'mixed': 40, 'tests': 300}
SIZES = 'small,medium,large'
RESERVE = 8  # seconds reserved for each remaining part
BY_SIZE = 'same', 'training', 'kernels'  # have a result for each size
AGAIN = 'same', 'training'  # repeated without the implementation that crashed them


@dataclasses.dataclass
class Settings:
    """Settings of a part.

    Attributes:
        sizes (list of str): Keys of `gpu_models.SIZES`.
        rounds (int): Number of rounds.
        tests (str): Arguments of pytest.
        known (dict): Results of the earlier parts.
        seconds (float): Time limit of the part; None for its usual limit.
    """
    sizes: list
    rounds: int
    tests: str
    known: dict
    seconds: float = None

    @property
    def main(self):
        """The size used by parts that measure a single size."""
        return 'medium' if 'medium' in self.sizes else self.sizes[0]

    @property
    def tiny(self):
        return 'tiny' in self.sizes

    def limit(self, part):
        return self.seconds or PARTS[part]


def run_part(part, args):
    """Runs a part in this process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout,
                        format='%(name)s: %(message)s')
    logging.getLogger('rnnlm').setLevel(logging.INFO)
    if part != 'tests':
        # What is wrong is found by the part 'same', and then not measured.
        os.environ.setdefault('RNNLM_CUDA', '1')
    import gpu_parts
    import gpu_speed
    function = getattr(gpu_speed, part, None) or getattr(gpu_parts, part)
    result = common.kept(args.json)

    def keep(found):
        result[part] = found
        common.keep(args.json, result)

    function(Settings(args.sizes.split(','), args.rounds, args.tests, result,
                      args.seconds), keep)


def run_apart(part, args, seconds):
    """Runs a part in a new process; returns why it failed, or ''."""
    command = [*PROGRAM, '--part', part, '--json', args.json, '--sizes', args.sizes,
               '--rounds', str(args.rounds), '--tests', args.tests, '--seconds',
               str(seconds)]
    try:
        status = subprocess.run(command, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return f'stopped after {seconds:.0f} s'
    return f'ended with status {status}' if status else ''


def gpus():
    """Returns the number of GPUs that CuPy can use."""
    try:
        import cupy
        return cupy.cuda.runtime.getDeviceCount()
    except Exception:  # what it raises depends on what is missing
        return 0


def run(args):
    """Runs the parts one after the other; returns their results."""
    if not gpus():
        raise SystemExit('there is no GPU that CuPy can use; rnnlm info tells why')
    end = time.monotonic() + 60 * args.minutes
    parts = args.parts.split(',')
    common.keep(args.json, {'sizes': args.sizes, 'failed': {}, 'took': {}})
    for k, part in enumerate(parts):
        print(f'--- {part}', flush=True)
        start = time.monotonic()
        left = end - start - RESERVE * (len(parts) - k - 1)
        seconds = min(PARTS[part], left)
        if args.together:
            run_part(part, args)
            failure = ''
        elif seconds < RESERVE:
            failure = 'there was no time left'
        else:
            failure = run_apart(part, args, seconds)
            left -= time.monotonic() - start
            if failure and part in AGAIN and left > RESERVE:
                print(f'{part}: {failure}; what is left of it', flush=True)
                failure = run_apart(part, args, min(PARTS[part], left))
        result = common.kept(args.json)
        result['took'][part] = time.monotonic() - start
        if failure:
            result['failed'][part] = failure
            print(f'{part}: {failure}', flush=True)
        common.keep(args.json, result)
    return common.kept(args.json)


def joined(earlier, found):
    """Returns results with those of some sizes replaced by newer ones.

    Args:
        earlier (dict): Results of all sizes.
        found (dict): Results of `BY_SIZE` and of the machine, for some sizes.
    """
    for key in 'gpu', 'versions', 'CUDA':
        if earlier['machine'][key] != found['machine'][key]:
            raise SystemExit(
                f'--add: expected {key} {earlier["machine"][key]}, as stored, found '
                f'{found["machine"][key]}; measure everything')
    if found['failed']:
        raise SystemExit(f'--add: failed: {found["failed"]}; nothing was stored')
    if 'same' in found:  # not measured at the large size
        earlier['same']['sizes'].update(found['same']['sizes'])
    for part in 'training', 'kernels':
        earlier[part].update(found[part])
    earlier['added'] = sorted({*earlier.get('added', ()), *found['training']})
    return earlier


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--parts', default=','.join(PARTS))
    add('--sizes', default=SIZES, help="also 'tiny', for a trial run")
    add('--rounds', type=int, default=15, help='largest number of rounds')
    add('--minutes', type=float, default=8.7, help='time limit for all parts')
    add('--json', help='file for the results (default: benchmarks/gpu.json, if '
        'everything is measured)')
    add('--tests', default='tests', help='arguments of pytest')
    add('--together', action='store_true', help='run all parts in this process')
    add('--add', action='store_true',
        help='store the results of these --sizes with those of the others')
    add('--write', action='store_true',
        help='write RESULTS.md from stored results')
    add('--part', choices=list(PARTS), help=argparse.SUPPRESS)
    add('--seconds', type=float, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for names, known, what in (
            (args.parts, set(PARTS), 'part'),
            (args.sizes, {*SIZES.split(','), 'tiny'}, 'size')):
        for name in names.split(','):
            if name not in known:
                parser.error(f'no such {what}: {name}')
    if args.add:
        args.parts = ','.join(('machine', *BY_SIZE))
    if args.json is None:
        args.json = KEPT if args.write or is_complete(args) else os.path.join(
            tempfile.gettempdir(), 'rnnlm-gpu.json')
    args.json = os.path.abspath(args.json)
    return args


def is_complete(args):
    """Returns whether all parts and sizes are measured, so that they are written."""
    return (args.parts, args.sizes) == (','.join(PARTS), SIZES)


def main(argv=None):
    args = parse(argv)
    if args.write:
        result = common.kept(args.json)
        if not result:
            raise SystemExit(f'{args.json}: nothing was measured yet')
        variables = dict(result.get('machine', {}).get('host', {}).get('variables', {}))
        variables.pop('RNNLM_CUDA', None)  # set by this script
        common.require_free_blas('benchmarks/gpu.py', variables=variables)
    elif args.part:
        run_part(args.part, args)
        return 0
    else:
        common.begin('benchmarks/gpu.py', writes=args.add or is_complete(args))
        result = run(args)
        if args.add:
            result = joined(common.kept(KEPT), result)
            common.keep(KEPT, result)
    print(report_gpu.part(result), flush=True)
    whole = all(part in result for part in PARTS) and result['sizes'] == SIZES
    if whole and 'NVIDIA' in result['machine']['gpu']:
        common.replace('GPU', 'gpu.py', report_gpu.part(result))
        report_pictures.draw(report_pictures.gpu, result)
    return 1 if result['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
