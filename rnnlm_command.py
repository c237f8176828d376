"""The console script `rnnlm`.

It is no part of the package, so that the package can tell that the command imports it,
and nobody else does before Chainer is there (`rnnlm._starting`).
"""
running = False


def main():
    """Runs the command; returns the exit status."""
    global running
    running = True
    from rnnlm.app import cli
    return cli.main()
