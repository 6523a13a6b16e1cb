"""`python server.py` is the same as `numcheck serve`."""

import sys

from numcheck.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
