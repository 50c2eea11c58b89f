"""``python -m vbfast``: the command line."""

from __future__ import annotations

import sys

from vbfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
