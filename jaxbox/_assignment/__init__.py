"""How the assignment problem is solved: every agent gets a task of its own, and the sum of the costs is the least.

Agents are the side with fewer members, so that all of them can be served; tasks are the other side. Each form solves a
batch of problems by shortest augmenting paths and is exact: every agent wants its cheapest task, and those that wanted
the same one are served one after the other, along paths that Dijkstra's algorithm finds over the tasks.

    problems     a batch of problems, and costs that are made finite
    paths        the shortest paths from an agent to a task that is free
    one_by_one   one problem after the other: the form for a CPU
    in_step      a scan of the tasks of each problem at a time: the form for everything else, and what kernels share
    triton       a kernel for a GPU
    mosaic       a kernel for a TPU
    sides        which side the agents are, problem by problem
"""

from jaxbox._assignment.sides import match
