"""A kernel for GPUs by way of Triton: one problem a program, which has all that it knows of it in registers.

Triton wants sizes that are powers of two. They are padded by masks, and costs are made finite as they are read, a row
at a time. Where the agents are columns, they are copied into rows before: reading numbers that do not lie side by side
took half of the time. Registers have no address: a value is picked by comparing places. Who wants what is found by XLA
before, all problems at once.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox._assignment import in_step
from jaxbox._assignment.paths import Costs, by_comparison, serve
from jaxbox._assignment.problems import INDEX, Problems, Scale

__all__ = ["solve"]

AT_MOST = 4096  # agents or tasks; of more of them the registers do not hold what is known
TASKS_OF_A_WARP = 128


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
    if not is_known or max(agents, tasks) > AT_MOST or problems.dtype != np.float32:
        return in_step.solve(problems)
    try:
        from jax.experimental import pallas
        from jax.experimental.pallas import triton  # these take longer to import than the package
    except ImportError:  # JAX has announced to remove it
        return in_step.solve(problems)

    scale, prices, agent_of, waits = in_step.begun(problems)
    costs = problems.costs if problems.agent_axis == 1 else jnp.swapaxes(problems.costs, 1, 2)
    of_costs = pallas.BlockSpec((None, _padded(agents), _padded(tasks)), lambda problem: (problem, 0, 0))
    of_problem = pallas.BlockSpec((1,), lambda problem: (problem,))
    of_agents, of_tasks = (
        pallas.BlockSpec((None, _padded(size)), lambda problem: (problem, 0)) for size in (agents, tasks)
    )
    solved = pallas.pallas_call(
        functools.partial(_kernel, (agents, tasks)),
        out_shape=jax.eval_shape(lambda x: x, agent_of),  # which says, too, over which devices it varies
        grid=(batch,),
        in_specs=[of_costs, *[of_problem] * 3, of_tasks, of_tasks, of_agents],
        out_specs=of_tasks,
        compiler_params=triton.CompilerParams(num_warps=max(1, _padded(tasks) // TASKS_OF_A_WARP)),
        interpret=interpret,
        name="linear_assignment",
    )(costs, *scale, prices, agent_of, waits.astype(INDEX))
    return in_step.finished(problems, solved)


def _padded(size: int) -> int:
    """The next power of two, and none so small that an array is a number."""
    return max(16, 1 << (size - 1).bit_length())


def _kernel(
    sizes: tuple[int, int],
    costs,
    root,
    forced,
    forbidden,
    prices,
    agent_of,
    waits,
    solved,
) -> None:
    """Solves one problem; its arrays lie in memory."""
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    every_agent, every_task = (pallas.ds(0, _padded(size)) for size in sizes)
    is_agent, is_task = (jnp.arange(_padded(size)) < size for size in sizes)
    scale, access = Scale(root[0], forced[0], forbidden[0]), by_comparison(keepdims=False)

    def row(agent: jax.Array) -> jax.Array:
        return scale.finite(triton.load(costs.at[agent, every_task], mask=is_task, other=0))

    found = serve(
        Costs(row, lambda row, _, task: access.pick(row, task), sizes[0]),
        access,
        triton.load(prices.at[every_task], mask=is_task, other=-jnp.inf),
        triton.load(waits.at[every_agent], mask=is_agent, other=0) > 0,
        triton.load(agent_of.at[every_task], mask=is_task, other=sizes[0]),
    )
    triton.store(solved.at[every_task], found, mask=is_task)
