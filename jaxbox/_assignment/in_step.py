"""All problems in step: the form for an accelerator.

A step is one scan of the tasks, or one hand-over along a path, of each problem of the batch; problems that are solved
wait for the others. There are no loops inside, and nothing is sorted or scattered.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox._assignment.paths import (
    Access,
    Costs,
    Paths,
    by_comparison,
    by_index,
    next_agent,
    prices_after,
    scan,
    start,
)
from jaxbox._assignment.problems import INDEX, Problems, Scale, filled, without_forbidden

__all__ = ["Start", "State", "begun", "finished", "first_state", "solve", "step"]

ACCESS = by_index()._replace(put=by_comparison(keepdims=False).put)  # a scatter takes one place at a time


class Start(NamedTuple):
    """What all agents want, and what is left to do.

    Attributes:
      scale: of each problem, `[B]`.
      prices: of the tasks, `[B, T]`; -infinity for a task that may not be given.
      agent_of: the agent of each task, `[B, T]`; A if it is free.
      waits: which agents are to be served, `[B, A]`.
    """

    scale: Scale
    prices: jax.Array
    agent_of: jax.Array
    waits: jax.Array


class State(NamedTuple):
    """Where a problem is.

    Attributes:
      prices: of the tasks, `[T]`.
      agent_of: the agent of each task, `[T]`; A if it is free.
      agent: which one is served; A if all are.
      paths: from this agent; once the nearest task is free, that task is handed over, and then the one before it.
    """

    prices: jax.Array
    agent_of: jax.Array
    agent: jax.Array
    paths: Paths


def solve(problems: Problems) -> tuple[jax.Array, jax.Array]:
    """Solves a batch of problems.

    Args:
      problems: the batch.

    Returns:
      The task of each agent, `[B, A]`, T if it has none, and the agent of each task, `[B, T]`.
    """
    batch, agents, tasks = problems.sizes
    scale, prices, agent_of, waits = begun(problems)

    def step_of(problem: jax.Array, scale: Scale, waits: jax.Array, state: State) -> State:
        def place(agent: jax.Array, task: jax.Array) -> tuple[jax.Array, ...]:
            return (problem, agent, task) if problems.agent_axis == 1 else (problem, task, agent)

        def row(agent: jax.Array) -> jax.Array:
            sizes = (1, 1, tasks) if problems.agent_axis == 1 else (1, tasks, 1)
            found = lax.dynamic_slice(problems.costs, place(agent, jnp.zeros_like(agent)), sizes)
            return scale.finite(found.reshape(tasks))

        costs = Costs(row, lambda _, agent, task: scale.finite(problems.costs[place(agent, task)]), agents)
        return step(costs, ACCESS, waits, state)

    numbers, steps = jnp.arange(batch, dtype=INDEX), jax.vmap(step_of)
    state = lax.while_loop(
        lambda state: jnp.any(state.agent < agents),
        lambda state: steps(numbers, scale, waits, state),
        jax.vmap(first_state)(prices, agent_of, waits),
    )
    return finished(problems, state.agent_of)


def begun(problems: Problems) -> Start:
    """What is known before any path is looked for: agents that alone want their cheapest task have it."""
    _, agents, tasks = problems.sizes
    wish, scale = _wishes_and_scale(problems)
    agent_of = _first_that_names(wish, tasks)
    prices = filled(agent_of, 0, problems.dtype)
    if problems.tasks is not None:
        prices = jnp.where(problems.tasks, prices, -jnp.inf)
    return Start(scale, prices, agent_of, problems.agents & (_first_that_names(agent_of, agents) == tasks))


def finished(problems: Problems, agent_of: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The result of a form, of the agent of each task, `[B, T]`; A for a free one."""
    agent_of = without_forbidden(problems, agent_of)
    return _first_that_names(agent_of, problems.sizes[1]), agent_of


def _wishes_and_scale(problems: Problems) -> tuple[jax.Array, Scale]:
    """The cheapest task of each agent, `[B, A]`, T if there is none, and the scale of each problem, `[B]`."""
    _, agents, tasks = problems.sizes
    axis = problems.task_axis
    takes_part = jnp.expand_dims(problems.agents, axis)
    if problems.tasks is not None:
        takes_part &= jnp.expand_dims(problems.tasks, problems.agent_axis)
    costs = problems.costs.astype(problems.dtype)
    allowed = takes_part & (costs < jnp.inf)
    finite = allowed & (costs > -jnp.inf)
    known = jnp.where(allowed, costs, jnp.inf)
    numbers = lax.broadcasted_iota(INDEX, costs.shape, axis)
    lowest = jnp.min(known, axis=axis, keepdims=True)
    is_lowest = allowed & (known == lowest)
    scale = Scale.of(
        jnp.min(jnp.where(finite, costs, jnp.inf), axis=(1, 2)),
        jnp.max(jnp.where(finite, costs, -jnp.inf), axis=(1, 2)),
        jnp.any(lowest == -jnp.inf, axis=(1, 2)),
        agents,
    )
    return jnp.min(jnp.where(is_lowest, numbers, tasks), axis=axis), scale


def _first_that_names(named: jax.Array, count: int) -> jax.Array:
    """The first that names each of `count`, `[B, count]`; as many as there are if nobody does."""
    problems, names = named.shape
    shape = problems, count, names
    is_named = named[:, None] == lax.broadcasted_iota(INDEX, shape, 1)
    return jnp.min(jnp.where(is_named, lax.broadcasted_iota(INDEX, shape, 2), names), axis=2)


def first_state(prices: jax.Array, agent_of: jax.Array, waits: jax.Array) -> State:
    """Where a problem is before the first step; there may be several of them, as rows.

    Args:
      prices: of the tasks, `[T]`; -infinity for a task that may not be given.
      agent_of: the agent of each task, `[T]`; A if it is free.
      waits: which agents are to be served, `[A]`.
    """
    nobody = filled(agent_of[..., :1] if agent_of.ndim > 1 else agent_of[0], -1, INDEX)
    agent = next_agent(waits, nobody)
    return State(prices, agent_of, agent, start(prices, agent))


def step(costs: Costs, access: Access, waits: jax.Array, state: State) -> State:
    """One scan or one hand-over of a problem; there may be several of them, as rows.

    Args:
      costs: of the problem.
      access: to arrays.
      waits: which agents are to be served, `[A]`.
      state: where it is; where all agents are served, it stays so.
    """
    tasks, paths = state.agent_of.shape[-1], state.paths
    scanned = scan(costs, access, state.agent_of, state.agent, paths)
    hands_over = (paths.nearest < tasks) & (state.agent < costs.agents)
    before = access.pick(paths.before, jnp.minimum(paths.nearest, tasks - 1))
    arrives = hands_over & (before >= tasks)
    giver = access.pick(state.agent_of, jnp.minimum(before, tasks - 1))
    taker = jnp.where(before < tasks, giver, state.agent)
    agent_of = jnp.where(hands_over, access.put(state.agent_of, paths.nearest, taker), state.agent_of)
    prices = jnp.where(arrives, prices_after(state.prices, paths), state.prices)
    agent = jnp.where(arrives, next_agent(waits, state.agent), state.agent)
    restarted, handed = start(prices, agent), paths._replace(nearest=before)

    def chosen(restarted: jax.Array, handed: jax.Array, scanned: jax.Array) -> jax.Array:
        return jnp.where(arrives, restarted, jnp.where(hands_over, handed, scanned))

    return State(prices, agent_of, agent, jax.tree.map(chosen, restarted, handed, scanned))
