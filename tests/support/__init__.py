"""Real parts: servers and processes, a proxy that misbehaves, readers that see bytes."""

import pytest

pytest.register_assert_rewrite("tests.support.joblog")  # its assertions shall say as much as those of a test
