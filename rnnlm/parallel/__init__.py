"""Data-parallel training with several processes, on ChainerMN."""
from rnnlm.parallel.group import Group
from rnnlm.parallel.mpi import (
    COMMUNICATORS, joined, launched_size, only_root_reports)
from rnnlm.parallel.single import SINGLE_PROCESS, SingleProcess

__all__ = ['COMMUNICATORS', 'Group', 'SINGLE_PROCESS', 'SingleProcess', 'joined',
           'launched_size', 'only_root_reports']
