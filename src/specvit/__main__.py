"""`python -m specvit` is the `specvit` command."""

import sys

from specvit.cli import main

sys.exit(main())
