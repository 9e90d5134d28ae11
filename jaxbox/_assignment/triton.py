"""A kernel for GPUs by way of Triton: one problem a program, whose state stays in registers.

Sizes are padded to powers of two, as Triton wants them, by masks: nothing is copied, and the costs are made finite as
they are read, a row at a time. A value of an array in registers is picked by comparing places, since registers have no
address. Who wants what is found before, by XLA, which reads costs at the speed of the memory.
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

AT_MOST = 4096  # agents or tasks; with more, what is known of them does not fit the registers
TASKS_OF_A_WARP = 256


def solve(problems: Problems, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """Solves a batch of problems; in step, where they are in double precision, too large, or of sizes not known.

    Args:
      problems: the batch.
      interpret: whether the kernel is run step by step, for a test on a CPU.

    Returns:
      The task of each agent, `[B, A]`, T if it has none, and the agent of each task, `[B, T]`.
    """
    batch, agents, tasks = problems.sizes
    if not all(isinstance(size, int) for size in problems.sizes) or problems.dtype != np.float32:
        return in_step.solve(problems)
    if max(agents, tasks) > AT_MOST:
        return in_step.solve(problems)
    from jax.experimental import pallas  # which takes longer to import than all the rest
    from jax.experimental.pallas import triton

    scale, prices, agent_of, waits = in_step.begun(problems)
    numbers = scale.root, scale.forced, scale.forbidden
    shape = _padded(problems.costs.shape[1]), _padded(problems.costs.shape[2])
    of_tasks, of_agents = (pallas.BlockSpec((None, _padded(size)), lambda problem: (problem, 0)) for size in (tasks, agents))
    number = pallas.BlockSpec((1,), lambda problem: (problem,))
    solved = pallas.pallas_call(
        functools.partial(_kernel, problems.agent_axis, (agents, tasks)),
        out_shape=jax.eval_shape(lambda x: x, agent_of),
        grid=(batch,),
        in_specs=[
            pallas.BlockSpec((None, *shape), lambda problem: (problem, 0, 0)),
            *[number] * len(numbers),
            of_tasks,
            of_tasks,
            of_agents,
        ],
        out_specs=of_tasks,
        compiler_params=triton.CompilerParams(num_warps=max(1, _padded(tasks) // TASKS_OF_A_WARP)),
        interpret=interpret,
        name="linear_assignment",
    )(problems.costs, *numbers, prices, agent_of, waits.astype(INDEX))
    return in_step.finished(problems, solved)


def _padded(size: int) -> int:
    """The next power of two; Triton has none below 16 in a program of one warp that is as fast."""
    return max(16, 1 << (size - 1).bit_length())


def _kernel(agent_axis, sizes, costs_ref, root_ref, forced_ref, forbidden_ref, prices_ref, given_ref, waits_ref, out_ref):
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    agents, tasks = sizes
    all_tasks, all_agents = pallas.ds(0, _padded(tasks)), pallas.ds(0, _padded(agents))
    is_task, is_agent = jnp.arange(_padded(tasks)) < tasks, jnp.arange(_padded(agents)) < agents
    first = pallas.ds(0, 1)
    root, forced, forbidden = (jnp.sum(ref[first]) for ref in (root_ref, forced_ref, forbidden_ref))
    scale = Scale(root, forced, forbidden, forbidden)
    access = by_comparison(keepdims=False)

    def row(agent: jax.Array) -> jax.Array:
        place = (agent, all_tasks) if agent_axis == 1 else (all_tasks, agent)
        return scale.finite(triton.load(costs_ref.at[place], mask=is_task, other=0))

    costs = Costs(row, lambda row, _, task: access.pick(row, task), agents)
    prices = triton.load(prices_ref.at[all_tasks], mask=is_task, other=-jnp.inf)
    given = triton.load(given_ref.at[all_tasks], mask=is_task, other=agents)
    waits = triton.load(waits_ref.at[all_agents], mask=is_agent, other=0) > 0
    triton.store(out_ref.at[all_tasks], serve(costs, access, prices, waits, given), mask=is_task)
