"""Compiles the programs of the package for TPUs and a GPU that are not there, and compares what they would do.

targets     the devices that are compiled for
subjects    the programs
figures     what is kept of a program, how it is compared and shown
running     which programs are compiled, by several processes
__main__    the command
"""
