"""How fast the library is: `python -m tests.tools.benchmarks`."""
