"""Mutation testing of the package's core: `python -m tests.tools.mutation`.

A mutant is the package with one small error in it. Tests that pass with the error in place do not see that line. The
usual tools start a process, or fork one, for every mutant; here a mutant is a code object that takes the place of the
right one inside a process that has collected the tests once.
"""
