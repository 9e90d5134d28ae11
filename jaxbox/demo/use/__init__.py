"""What a run is good for.

finding        `jaxbox detect`
measuring      `jaxbox evaluate`
command_lines  what the command lines of both take
"""
