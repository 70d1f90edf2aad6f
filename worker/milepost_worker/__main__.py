"""`python -m milepost_worker [MODULE…]`."""

import sys

from milepost_worker.main import main

sys.exit(main())
