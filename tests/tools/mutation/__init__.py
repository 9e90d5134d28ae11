"""Mutation testing of the package's core: `python -m tests.tools.mutation`.

A mutant is the package with one small error in it. Tests that pass with the error in place do not see that line. The
usual tools start a process, or fork one, for every mutant; here the code of most mutants takes the place of the right
one inside a process that has collected the tests once. Only what runs while a module is loaded, such as the default of
an argument, is loaded with its error by a process of its own.
"""
