"""Programs that print the figures in the README: run them as `python -m benchmarks.NAME`."""
