"""A kernel for TPUs by way of Mosaic: a block of problems in step, the costs of which a core holds.

A reduction takes a TPU much longer than arithmetic, so one serves all problems of a block, which are the rows of each
array. Costs are made finite as they are read, a row of each problem at a time. Vectors have no address: a value of a
row is picked by comparing places. Who wants what is found by XLA before, all problems at once.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox._assignment import in_step
from jaxbox._assignment.paths import Costs, by_comparison
from jaxbox._assignment.problems import INDEX, Problems, Scale

__all__ = ["solve"]

BYTES = 10 * 2**20  # of the costs of a block; a kernel has 16 MiB on every TPU
PROBLEMS = 128  # of a block, at most: the kernel names each
SUBLANES, LANES = 8, 128
EXACT = 2**24  # up to which float32 holds each integer


def solve(problems: Problems, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """Solves a batch of problems; without the kernel if they are too large, of sizes not known, or in double precision.

    Args:
      problems: the batch.
      interpret: whether the kernel is run by XLA, for a test on a CPU.

    Returns:
      The task of each agent, `[B, A]`, T if it has none, and the agent of each task, `[B, T]`.
    """
    batch, agents, tasks = problems.sizes
    is_known = all(isinstance(size, int) for size in problems.sizes)
    if not is_known or 4 * tasks > EXACT or problems.dtype != np.float32:
        return in_step.solve(problems)
    fitting = BYTES // (4 * _up_to(agents, SUBLANES) * _up_to(tasks, LANES)) // SUBLANES * SUBLANES
    if fitting == 0:
        return in_step.solve(problems)
    from jax.experimental import pallas
    from jax.experimental.pallas import tpu  # these take longer to import than the package

    scale, prices, agent_of, waits = in_step.begun(problems)
    blocks = -(-batch // min(fitting, PROBLEMS))
    together = _up_to(-(-batch // blocks), SUBLANES)
    costs = problems.costs.astype(problems.dtype)
    costs = costs if problems.agent_axis == 1 else jnp.swapaxes(costs, 1, 2)
    numbers = (number[:, None] for number in scale)
    # Nobody waits in the problems that fill the last block.
    arrays = [
        jnp.pad(array, ((0, blocks * together - batch), (0, 0)))
        for array in (*numbers, prices, agent_of, waits.astype(INDEX))
    ]
    in_one_buffer = pallas.Buffered(1)  # the next block is read once this one is solved, which takes much longer
    of_problem, of_agents, of_tasks = (
        pallas.BlockSpec((together, size), lambda block: (block, 0)) for size in (1, agents, tasks)
    )
    solved = pallas.pallas_call(
        functools.partial(_kernel, agents),
        out_shape=jax.eval_shape(lambda x: x, arrays[4]),  # which says, too, over which devices it varies
        grid=(blocks,),
        in_specs=[
            pallas.BlockSpec((together, agents, tasks), lambda block: (block, 0, 0), pipeline_mode=in_one_buffer),
            *[of_problem] * 3,
            *[of_tasks] * 2,
            of_agents,
        ],
        out_specs=of_tasks,
        scratch_shapes=[tpu.VMEM((together, tasks), problems.dtype)],
        interpret=interpret,
        name="linear_assignment",
    )(costs, *arrays)
    return in_step.finished(problems, solved[:batch])


def _up_to(size: int, of: int) -> int:
    """The next multiple."""
    return -(-size // of) * of


def _kernel(
    agents: int,
    costs,
    root,
    forced,
    forbidden,
    prices,
    agent_of,
    waits,
    solved,
    rows,
) -> None:
    """Solves a block of problems; its arrays lie in the memory of the core."""
    from jax.experimental import pallas

    access = by_comparison(keepdims=True)

    def row(agent: jax.Array) -> jax.Array:
        for problem in range(rows.shape[0]):
            rows[problem : problem + 1, :] = costs[problem, pallas.ds(agent[problem, 0], 1), :]
        return Scale(root[...], forced[...], forbidden[...]).finite(rows[...])

    of_agents = Costs(row, lambda row, _, task: access.pick(row, task), agents)
    state = lax.while_loop(
        lambda state: jnp.min(state.agent) < agents,
        lambda state: in_step.step(of_agents, access, waits[...] > 0, state),
        in_step.first_state(prices[...], agent_of[...], waits[...] > 0),
    )
    solved[...] = state.agent_of
