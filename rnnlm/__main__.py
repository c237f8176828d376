"""`python -m rnnlm` is the console script `rnnlm`."""
import sys

from rnnlm.app.cli import main

sys.exit(main())
