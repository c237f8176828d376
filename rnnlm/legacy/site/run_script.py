"""The script that `rnnlm run` starts: ``python run_script.py script.py args``."""
import numpy  # noqa: F401  installs the old names, see sitecustomize.py

from rnnlm.legacy import boot, main, rewriting

if __name__ == '__main__':
    main.run(rewriting.rewrite, boot.advise)
