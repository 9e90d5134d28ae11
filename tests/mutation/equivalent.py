"""Mutants that no test can kill, since they are no errors: what changes, and why nothing follows from it.

The key is the file, the function, and the changed lines before and after, all as the report prints them.
"""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
