"""``python -m capsroute``: the same as the command ``capsroute``."""

import sys

from capsroute.cli import main

if __name__ == "__main__":
    sys.exit(main())
