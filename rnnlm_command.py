"""The console script `rnnlm`.

It is not in the package, so that `rnnlm._starting` can detect that the command is
running and that no user code was imported before.
"""
running = False


def main():
    """Runs the command; returns the exit status."""
    global running
    running = True
    from rnnlm.app import cli
    return cli.main()
