"""Runs `rnnlm` commands in forked children, with faults in what they do to files.

Reads one request a line, {'argv', 'folder', 'kind', 'at', 'errno', 'log'}, and answers
each with {'status', 'printed', 'count'}: what has been imported once need not be
imported for each of some thousand runs.
"""
import ctypes
import json
import os
import sys

import rnnlm  # noqa: F401

from helpers import poisoned_above
import numpy
from rnnlm import kernels
from rnnlm.app import cli
from rnnlm.training import plotting

KINDS = {'count': 0, 'fail': 1, 'full': 2, 'kill': 3, 'half': 4}


class Patch:
    setattr = staticmethod(setattr)


def child(request, output):
    for number in 1, 2:
        os.dup2(output, number)
    # Drawing takes as long as all the rest.
    if not request.get('picture'):
        plotting.available = lambda: False
    if request.get('poisoned'):
        poisoned_above(0.6, Patch, 3)
    shim.faults_arm(request['folder'].encode(), KINDS[request['kind']],
                    request['at'], request['errno'])
    try:
        return cli.main(request['argv'])
    except SystemExit as e:
        return e.code
    finally:
        shim.faults_disarm()
        for stream in sys.stdout, sys.stderr:
            stream.flush()


def serve(line):
    request = json.loads(line)
    output = os.open(request['log'], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    pid = os.fork()
    if not pid:
        status = 70
        try:
            status = child(request, output)
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    os.lseek(output, 0, os.SEEK_SET)
    printed = os.read(output, 10 ** 6).decode()
    os.close(output)
    return {'status': os.waitstatus_to_exitcode(status), 'printed': printed,
            'count': shim.faults_count()}


shim = ctypes.CDLL(None)
shim.faults_arm.argtypes = ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int
shim.faults_count.restype = ctypes.c_long
shim.faults_arm(b'', 0, 0, 0)  # the count is shared from here on
for name in 'recurrent', 'output', 'sgd', 'twister':
    kernels.compiled(name, numpy, numpy.float32)  # imported once, not in each child
for line in sys.stdin:
    print(json.dumps(serve(line)), flush=True)
