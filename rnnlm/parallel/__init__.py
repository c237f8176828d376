"""Several processes that train one model together, on ChainerMN."""
from rnnlm.parallel.alone import ALONE, Alone
from rnnlm.parallel.launch import COMMUNICATORS, joined, launched_rank

__all__ = ['ALONE', 'Alone', 'COMMUNICATORS', 'joined', 'launched_rank']
