import sys

from milepost_api.main import main

sys.exit(main())
