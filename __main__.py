"""`python -m lehrnet` is `lehrnet`."""

import sys

from .cli import main

sys.exit(main())
