"""First on the PYTHONPATH of an API that is to die at a named point: imported by `site` before all else."""

from tests.faults.doom import install

install()
