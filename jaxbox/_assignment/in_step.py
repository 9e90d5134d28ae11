"""All problems in step: the form for an accelerator.

A step is one scan of the tasks, or one hand-over along a path, of each problem of the batch; problems that are solved
wait for the others. There are no loops inside, and nothing is sorted or scattered.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxbox._assignment.paths import Costs, Paths, next_agent, prices_after, scan, start
from jaxbox._assignment.problems import INDEX, Problems, Scale, filled, without_forbidden

__all__ = ["solve"]


class _State(NamedTuple):
    """Where each problem is.

    Attributes:
      prices: of the tasks, `[B, T]`.
      agent_of: the agent of each task, `[B, T]`; A if it is free.
      agent: which one is served, `[B]`; A if all are.
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
    wish, scale = _wishes_and_scale(problems)
    agent_of = _first_that_names(wish, tasks)
    waits = problems.agents & (_first_that_names(agent_of, agents) == tasks)
    prices = filled(agent_of, 0, problems.dtype)
    if problems.tasks is not None:
        prices = jnp.where(problems.tasks, prices, -jnp.inf)
    following, begin = jax.vmap(next_agent), jax.vmap(start)
    step = jax.vmap(functools.partial(_step, problems.costs, problems.agent_axis))
    numbers = jnp.arange(batch, dtype=INDEX)

    def go_on(state: _State) -> _State:
        state, arrived = step(numbers, scale, state)
        restarted = begin(state.prices), following(waits, state.agent)
        paths = jax.tree.map(functools.partial(_chosen, arrived), restarted[0], state.paths)
        return state._replace(paths=paths, agent=_chosen(arrived, restarted[1], state.agent))

    nobody = filled(agent_of[:, 0], -1, INDEX)
    state = _State(prices, agent_of, following(waits, nobody), begin(prices))
    agent_of = lax.while_loop(lambda state: jnp.any(state.agent < agents), go_on, state).agent_of
    agent_of = without_forbidden(problems, agent_of)
    return _first_that_names(agent_of, agents), agent_of


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
    is_lowest = allowed & (known == jnp.min(known, axis=axis, keepdims=True))
    scale = Scale.of(
        jnp.min(jnp.where(finite, costs, jnp.inf), axis=(1, 2)),
        jnp.max(jnp.where(finite, costs, -jnp.inf), axis=(1, 2)),
        jnp.any(allowed & ~finite, axis=(1, 2)),
        jnp.any(takes_part & ~allowed, axis=(1, 2)),
        agents,
    )
    return jnp.min(jnp.where(is_lowest, numbers, tasks), axis=axis), scale


def _first_that_names(named: jax.Array, count: int) -> jax.Array:
    """The first that names each of `count`, `[B, count]`; as many as there are if nobody does."""
    problems, names = named.shape
    shape = problems, count, names
    is_named = named[:, None] == lax.broadcasted_iota(INDEX, shape, 1)
    return jnp.min(jnp.where(is_named, lax.broadcasted_iota(INDEX, shape, 2), names), axis=2)


def _step(
    costs: jax.Array, agent_axis: int, problem: jax.Array, scale: Scale, state: _State
) -> tuple[_State, jax.Array]:
    """One scan or one hand-over of one problem, and whether it was the last one of a path."""
    tasks, agents = state.agent_of.shape[0], costs.shape[agent_axis]
    paths, places = state.paths, jnp.arange(tasks, dtype=INDEX)

    def place(agent: jax.Array, task: jax.Array) -> tuple[jax.Array, ...]:
        return (problem, agent, task) if agent_axis == 1 else (problem, task, agent)

    def row(agent: jax.Array) -> jax.Array:
        sizes = (1, 1, tasks) if agent_axis == 1 else (1, tasks, 1)
        return scale.finite(lax.dynamic_slice(costs, place(agent, jnp.zeros_like(agent)), sizes).reshape(tasks))

    problem_costs = Costs(row, lambda agent, task: scale.finite(costs[place(agent, task)]), agents)
    scanned = scan(problem_costs, state.agent_of, state.agent, paths)
    hands_over = paths.nearest < tasks
    before = paths.before[jnp.minimum(paths.nearest, tasks - 1)]
    arrived = hands_over & (before >= tasks)
    agent = jnp.where(before < tasks, state.agent_of[jnp.minimum(before, tasks - 1)], state.agent)
    agent_of = jnp.where(hands_over & (places == paths.nearest), agent, state.agent_of)
    handed = paths._replace(nearest=before)
    is_served = state.agent < agents
    paths = jax.tree.map(functools.partial(_chosen, hands_over | ~is_served), handed, scanned)
    prices = jnp.where(arrived, prices_after(state.prices, state.paths), state.prices)
    return _State(prices, agent_of, state.agent, paths), arrived


def _chosen(first: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.where(first if one.ndim == first.ndim else first[..., None], one, other)
