"""`python -m easel` is the command `easel`."""

import sys

from ._entry import main

sys.exit(main())
