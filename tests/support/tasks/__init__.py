"""Tasks for the tests of workers: each behaves in one way, well or badly."""
