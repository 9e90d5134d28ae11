"""A kernel for TPUs by way of Mosaic: as many problems in step as a core holds the costs of.

A reduction takes a TPU much longer than arithmetic, so one serves many problems, which are the rows of each array. Costs
stay in the memory of the core and are made finite as they are read, a row of each problem at a time. A value of a row is
picked by comparing places, since vectors have no address. Who wants what is found before, by XLA.
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

BYTES = 8 * 2**20  # of the costs that a core holds; there are two such buffers
PROBLEMS = 128  # in step, at most
SUBLANES, LANES = 8, 128  # of a register
EXACT = 2**24  # below it float32 holds all integers


def solve(problems: Problems, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """Solves a batch of problems; in step by XLA, where they are in double precision, too large, or of sizes not known.

    Args:
      problems: the batch.
      interpret: whether the kernel is run step by step, for a test on a CPU.

    Returns:
      The task of each agent, `[B, A]`, T if it has none, and the agent of each task, `[B, T]`.
    """
    batch, agents, tasks = problems.sizes
    if not all(isinstance(size, int) for size in problems.sizes) or problems.dtype != np.float32:
        return in_step.solve(problems)
    fitting = BYTES // (4 * _up_to(agents, SUBLANES) * _up_to(tasks, LANES)) // SUBLANES * SUBLANES
    if fitting == 0 or 4 * tasks > EXACT:
        return in_step.solve(problems)
    from jax.experimental import pallas  # which takes longer to import than all the rest
    from jax.experimental.pallas import tpu

    begun = in_step.begun(problems)
    at_once = _shared_out(batch, min(fitting, PROBLEMS))
    costs = problems.costs if problems.agent_axis == 1 else jnp.swapaxes(problems.costs, 1, 2)
    numbers = [number[:, None] for number in (begun.scale.root, begun.scale.forced, begun.scale.forbidden)]
    arrays = [*numbers, begun.prices, begun.agent_of, begun.waits.astype(INDEX)]
    missing = -batch % at_once
    given = [jnp.pad(array, ((0, missing), (0, 0))) for array in arrays]  # where nobody waits
    rows = [pallas.BlockSpec((at_once, array.shape[1]), lambda block: (block, 0)) for array in arrays]
    solved = pallas.pallas_call(
        functools.partial(_kernel, (at_once, agents, tasks)),
        out_shape=jax.eval_shape(lambda x: x, given[4]),
        grid=((batch + missing) // at_once,),
        in_specs=[pallas.BlockSpec((at_once, agents, tasks), lambda block: (block, 0, 0)), *rows],
        out_specs=rows[4],
        scratch_shapes=[tpu.VMEM((at_once, tasks), jnp.float32)],
        compiler_params=tpu.CompilerParams(vmem_limit_bytes=6 * BYTES),
        interpret=interpret,
        name="linear_assignment",
    )(costs.astype(jnp.float32), *given)
    return in_step.finished(problems, solved[:batch])


def _up_to(size: int, of: int) -> int:
    """The next multiple."""
    return -(-size // of) * of


def _shared_out(batch: int, at_most: int) -> int:
    """How many problems at once: blocks of equal size, as few as there can be."""
    blocks = -(-batch // at_most)
    return _up_to(-(-batch // blocks), SUBLANES)


def _kernel(sizes, costs_ref, root_ref, forced_ref, forbidden_ref, prices_ref, given_ref, waits_ref, out_ref, row_ref):
    from jax.experimental import pallas

    problems, agents, tasks = sizes
    access = by_comparison(keepdims=True)

    def row(agent: jax.Array) -> jax.Array:
        for problem in range(problems):
            its_agent = pallas.ds(agent[problem, 0], 1)
            row_ref[problem : problem + 1, :] = costs_ref[problem, its_agent, :]
        return Scale(root_ref[...], forced_ref[...], forbidden_ref[...], forbidden_ref[...]).finite(row_ref[...])

    costs = Costs(row, lambda row, _, task: access.pick(row, task), agents)
    waits = lambda: waits_ref[...] > 0
    state = lax.while_loop(
        lambda state: jnp.min(state.agent) < agents,
        lambda state: in_step.step(costs, access, waits(), state),
        in_step.first_state(prices_ref[...], given_ref[...], waits()),
    )
    out_ref[...] = state.agent_of
