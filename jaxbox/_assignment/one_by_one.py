"""One problem after the other: the form for a CPU.

A scan of the tasks of one problem is a dozen small loops, so what matters is how many there are, and that each of them
is a loop over vectors:

- The wishes of all problems come from one loop over the tasks. Most agents get what they want, and a problem whose
  agents all do is not visited.
- A minimum of many numbers is one of lanes, then of these: XLA finds the place of a minimum, and the minimum of more
  than 32 numbers, one number at a time.
- A scan writes nothing into an array, which would copy it: a task is closed by comparing places.
- A problem with many agents to serve gets a copy of its costs in which what an agent is asked for lies in one piece.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox._assignment.paths import Costs, by_index, serve
from jaxbox._assignment.problems import INDEX, Problems, Scale, filled, without_forbidden

__all__ = ["solve"]

LANES = 32  # the most that XLA takes a minimum of in one piece
MANY = 12  # agents to serve, from which on a copy of the costs of a problem pays


def solve(problems: Problems) -> tuple[jax.Array, jax.Array]:
    """Solves a batch of problems.

    Args:
      problems: the batch.

    Returns:
      The task of each agent, `[B, A]`, T if it has none, and the agent of each task, `[B, T]`.
    """
    _, agents, tasks = problems.sizes
    wish, lowest = _wishes(problems)
    agent_of = _first_that_names(wish, tasks)
    has_wish = jnp.take_along_axis(agent_of, wish, axis=1) == jnp.arange(agents, dtype=INDEX)[None]
    waits, agent_of = problems.agents & ~(has_wish & (wish < tasks)), agent_of[:, :tasks]

    def serve_all() -> tuple[jax.Array, jax.Array]:
        scale, forbids = _scale_and_forbids(problems, lowest)

        def visit(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            unsolved, agent_of = state
            problem = jnp.argmax(unsolved).astype(INDEX)
            solved = _solve_one(problems, scale, problem, waits[problem], agent_of[problem])
            return unsolved.at[problem].set(False), agent_of.at[problem].set(solved)

        found = lax.while_loop(lambda state: jnp.any(state[0]), visit, (jnp.any(waits, axis=1), agent_of))[1]
        kept = lax.cond(jnp.any(forbids), lambda: without_forbidden(problems, found), lambda: found)
        return _first_that_names(kept, agents)[:, :agents], kept

    return lax.cond(jnp.any(waits), serve_all, lambda: (wish, agent_of))


Carry = tuple[jax.Array, ...]


def _over_tasks(problems: Problems, visit: Callable[[jax.Array, jax.Array, Carry], Carry], carry: Carry) -> Carry:
    """`visit(task, costs, carry)` for each task, with what it costs each agent: infinity where it may not be given."""
    tasks = problems.sizes[2]

    def of_task(task: jax.Array, carry: Carry) -> Carry:
        costs = lax.dynamic_index_in_dim(problems.costs, task, problems.task_axis, keepdims=False)
        if problems.tasks is not None:
            costs = jnp.where(lax.dynamic_index_in_dim(problems.tasks, task, 1), costs, jnp.inf)
        return visit(task, costs.astype(problems.dtype), carry)

    return lax.fori_loop(0, tasks, of_task, carry, unroll=4 if isinstance(tasks, int) else 1)


def _wishes(problems: Problems) -> tuple[jax.Array, jax.Array]:
    """The cheapest task of each agent, `[B, A]`, T if there is none, and its cost."""
    tasks = problems.sizes[2]

    def visit(task: jax.Array, costs: jax.Array, carry: Carry) -> Carry:
        wish, lowest = carry
        is_lower = costs < lowest
        return jnp.where(is_lower, task.astype(INDEX), wish), jnp.where(is_lower, costs, lowest)

    nothing = filled(problems.agents, tasks, INDEX), filled(problems.agents, jnp.inf, problems.dtype)
    wish, lowest = _over_tasks(problems, visit, nothing)
    return jnp.where(problems.agents, wish, tasks), jnp.where(problems.agents, lowest, jnp.inf)


def _scale_and_forbids(problems: Problems, lowest: jax.Array) -> tuple[Scale, jax.Array]:
    """The scale of each problem, `[B]`, and whether it forbids a pair; `lowest` is the lowest cost of each agent."""

    def visit(_: jax.Array, costs: jax.Array, carry: Carry) -> Carry:
        least, most, forbids = carry
        is_lower, is_higher = (costs < least) & (costs > -jnp.inf), (costs > most) & (costs < jnp.inf)
        return jnp.where(is_lower, costs, least), jnp.where(is_higher, costs, most), forbids | ~(costs < jnp.inf)

    take_part, dtype = problems.agents, problems.dtype
    nothing = (filled(take_part, jnp.inf, dtype), filled(take_part, -jnp.inf, dtype), filled(take_part, False, bool))
    least, most, forbids = _over_tasks(problems, visit, nothing)
    scale = Scale.of(
        jnp.min(jnp.where(take_part, least, jnp.inf), axis=1),
        jnp.max(jnp.where(take_part, most, -jnp.inf), axis=1),
        jnp.any(take_part & (lowest == -jnp.inf), axis=1),
        problems.sizes[1],
    )
    return scale, jnp.any(take_part & forbids, axis=1)


def _first_that_names(named: jax.Array, count: int) -> jax.Array:
    """The first that names each of `count`, `[B, count + 1]`; as many as there are if nobody does.

    Args:
      named: what each of them names, `[B, K]`; `count` for nothing.
      count: what can be named.
    """
    problems, names = named.shape

    def visit(number: jax.Array, first: jax.Array) -> jax.Array:  # from the last to the first
        problem, own = (number // names).astype(INDEX), (names - 1 - number % names).astype(INDEX)
        return lax.dynamic_update_slice(first, own[None, None], (problem, named[problem, own]))

    nobody = jnp.broadcast_to(filled(named[:, :1], names, INDEX), (problems, count + 1))
    return lax.fori_loop(0, problems * names, visit, nobody)


def _solve_one(
    problems: Problems, scale: Scale, problem: jax.Array, waits: jax.Array, agent_of: jax.Array
) -> jax.Array:
    """Serves the agents of one problem that wait, and gives the agent of each task, `[T]`."""
    agents, tasks = problems.sizes[1:]
    lanes = LANES if isinstance(tasks, int) else 1
    missing = -tasks % lanes
    own = Scale(*(value[problem] for value in scale))

    def place(agent: jax.Array, task: jax.Array) -> tuple[jax.Array, ...]:
        return (problem, agent, task) if problems.agent_axis == 1 else (problem, task, agent)

    def where_they_lie() -> Costs:
        sizes = (1, 1, tasks) if problems.agent_axis == 1 else (1, tasks, 1)

        def row(agent: jax.Array) -> jax.Array:
            found = lax.dynamic_slice(problems.costs, place(agent, jnp.zeros_like(agent)), sizes)
            return jnp.pad(own.finite(found.reshape(tasks)), (0, missing))

        return Costs(
            row, lambda _, agent, task: own.finite(problems.costs[place(agent, jnp.minimum(task, tasks - 1))]), agents
        )

    def in_one_piece() -> Costs:
        costs = problems.costs[problem]
        rows = own.finite(costs if problems.agent_axis == 1 else costs.T)
        rows = lax.optimization_barrier(jnp.pad(rows, ((0, 0), (0, missing))))
        return Costs(lambda agent: rows[agent], lambda _, agent, task: rows[agent, task], agents)

    may_be_given = filled(agent_of, True, bool) if problems.tasks is None else problems.tasks[problem]
    prices = jnp.where(may_be_given, jnp.zeros((), problems.dtype), -jnp.inf)
    prices = jnp.pad(prices, (0, missing), constant_values=-jnp.inf)
    given = jnp.pad(agent_of, (0, missing), constant_values=agents)

    def served(costs: Callable[[], Costs]) -> Callable[[], jax.Array]:
        return lambda: serve(costs(), by_index(lanes), prices, waits, given)[:tasks]

    return lax.cond(jnp.sum(waits) > MANY, served(in_one_piece), served(where_they_lie))
