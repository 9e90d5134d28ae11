"""The shortest paths from an agent to a task that is free: Dijkstra's algorithm over the tasks of one problem.

A path goes from an agent to a task, from a task that is taken to the agent that has it, and so on. Its length is by how
much the sum of the costs grows when everybody on it takes the next task. The prices make every step of it at least 0:
the price of a task is how much cheaper it would have to be for those that cannot have it to want it no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxbox import numerics
from jaxbox._assignment.problems import INDEX, filled

__all__ = [
    "Access",
    "Costs",
    "Paths",
    "by_comparison",
    "by_index",
    "next_agent",
    "prices_after",
    "scan",
    "serve",
    "start",
]


class Access(NamedTuple):
    """How a form reads and writes what it has of the tasks.

    Attributes:
      pick: the value at a place.
      put: the values with another one at a place.
      lowest: the minimum.
    """

    pick: Callable[[jax.Array, jax.Array], jax.Array]
    put: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    lowest: Callable[[jax.Array], jax.Array]


def by_index(lanes: int = 1) -> Access:
    """By indices into arrays.

    Args:
      lanes: of how many numbers a minimum is taken at once; a divisor of T.
    """
    return Access(
        lambda values, place: values[place],
        lambda values, place, value: values.at[place].set(value),
        lambda numbers: _lowest(numbers, lanes),
    )


def by_comparison(*, keepdims: bool) -> Access:
    """By comparing places, for a kernel, whose values are in registers: those have no address.

    Args:
      keepdims: whether there are several problems, with an axis of 1 in place of T where one has one number.
    """

    def pick(values: jax.Array, place: jax.Array) -> jax.Array:
        found = jnp.where(_places(values) == place, values.astype(np.float32), -jnp.inf)
        return jnp.max(found, axis=-1, keepdims=keepdims).astype(values.dtype)

    return Access(
        pick,
        lambda values, place, value: jnp.where(_places(values) == place, value, values),
        lambda numbers: jnp.min(numbers, axis=-1, keepdims=keepdims),
    )


def _places(values: jax.Array) -> jax.Array:
    return lax.broadcasted_iota(INDEX, values.shape, values.ndim - 1)


class Costs(NamedTuple):
    """The finite costs of one problem.

    Attributes:
      row: what the tasks cost an agent, `[T]`: a function of the agent.
      entry: what a task costs an agent: a function of the row of the agent, of the agent and of the task.
      agents: how many there are.
    """

    row: Callable[[jax.Array], jax.Array]
    entry: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    agents: int


class Paths(NamedTuple):
    """What is known of the paths from one agent.

    Attributes:
      lengths: of the path to each task, `[T]`; infinity where none is known.
      before: the task before each on its path, `[T]`; T or more if it is the first one.
      prices: of each task that is open, `[T]`; -infinity if it is closed: its path is known to be the shortest.
      nearest: the open task that is nearest; T more if an agent has it, and 3 T before the first scan.
      shortest: the length of the path to it.
    """

    lengths: jax.Array
    before: jax.Array
    prices: jax.Array
    nearest: jax.Array
    shortest: jax.Array


def start(prices: jax.Array, first: jax.Array) -> Paths:
    """The paths before the first scan.

    Args:
      prices: of the tasks, `[T]`; -infinity for a task that may not be given.
      first: the agent at which the paths begin.
    """
    tasks = prices.shape[-1]
    return Paths(
        filled(prices, jnp.inf, prices.dtype),
        filled(prices, tasks, INDEX),
        prices,
        filled(first, 3 * tasks, INDEX),
        filled(first, 0, prices.dtype),
    )


def scan(costs: Costs, access: Access, agent_of: jax.Array, first: jax.Array, paths: Paths) -> Paths:
    """Closes the nearest task and goes on from the agent that has it, or begins with the first agent.

    Args:
      costs: of the problem.
      access: to arrays.
      agent_of: the agent of each task, `[T]`; from A on if it is free.
      first: the agent at which the paths begin.
      paths: what is known; its nearest task is not free.

    Returns:
      What is known then. Of several nearest tasks one that is free is the nearest.
    """
    tasks, places = agent_of.shape[-1], _places(agent_of)
    closed = paths.nearest - tasks
    begins, held = closed >= tasks, jnp.clip(closed, 0, tasks - 1)
    agent = jnp.minimum(jnp.where(begins, first, access.pick(agent_of, held)), costs.agents - 1)
    row = costs.row(agent)
    given_up = jnp.where(begins, 0, costs.entry(row, agent, held) - access.pick(paths.prices, held))
    prices = jnp.where(places == closed, -jnp.inf, paths.prices)
    lengths = row - prices + (paths.shortest - given_up)
    is_shorter = lengths < paths.lengths
    lengths, before = jnp.where(is_shorter, lengths, paths.lengths), jnp.where(is_shorter, closed, paths.before)
    open_lengths = jnp.where(prices == -jnp.inf, jnp.inf, lengths)
    shortest = access.lowest(open_lengths)
    numbers = jnp.where(agent_of < costs.agents, places + tasks, places).astype(lengths.dtype)
    nearest = access.lowest(jnp.where(open_lengths == shortest, numbers, 3 * tasks))
    return Paths(lengths, before, prices, nearest.astype(INDEX), shortest)


def _lowest(numbers: jax.Array, lanes: int) -> jax.Array:
    """The minimum, of lanes first: the barrier keeps XLA from making one minimum of the two."""
    if lanes == 1:
        return jnp.min(numbers)
    return jnp.min(numerics.fusion_barrier(jnp.min(numbers.reshape(-1, lanes), axis=0)))


def prices_after(prices: jax.Array, paths: Paths) -> jax.Array:
    """The prices once everybody on the path to the nearest task has taken the next task.

    Args:
      prices: of the tasks before, `[T]`; -infinity for a task that may not be given.
      paths: all that the scans have found.
    """
    is_closed = (paths.prices == -jnp.inf) & (prices > -jnp.inf)
    return jnp.where(is_closed, prices + (paths.lengths - paths.shortest), prices)


def next_agent(waits: jax.Array, agent: jax.Array | int) -> jax.Array:
    """The first agent behind another one that waits, `[A]`; A if there is none."""
    agents = waits.shape[-1]
    numbers = jnp.where(waits & (_places(waits) > agent), _places(waits), agents)
    return jnp.min(numbers, axis=-1, keepdims=jnp.ndim(agent) == waits.ndim)


def serve(costs: Costs, access: Access, prices: jax.Array, waits: jax.Array, agent_of: jax.Array) -> jax.Array:
    """Serves the agents of one problem one after the other, and gives the agent of each task.

    Args:
      costs: of the problem.
      access: to arrays.
      prices: of the tasks, `[T]`; -infinity for a task that may not be given.
      waits: whether an agent is to be served, `[A]`.
      agent_of: the agent of each task before, `[T]`; from A on if it is free.
    """
    tasks = agent_of.shape[0]

    def serve_one(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        prices, agent_of, agent = state
        paths = lax.while_loop(
            lambda paths: paths.nearest >= tasks,
            lambda paths: scan(costs, access, agent_of, agent, paths),
            start(prices, agent),
        )
        return prices_after(prices, paths), _passed_on(access, agent_of, agent, paths), next_agent(waits, agent)

    state = prices, agent_of, next_agent(waits, -1)
    return lax.while_loop(lambda state: state[2] < costs.agents, serve_one, state)[1]


def _passed_on(access: Access, agent_of: jax.Array, first: jax.Array, paths: Paths) -> jax.Array:
    """Everybody on the path to the nearest task takes the next task: the last agent first."""
    tasks = agent_of.shape[0]

    def take(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        task, agent_of = state
        before = access.pick(paths.before, task)
        agent = jnp.where(before < tasks, access.pick(agent_of, jnp.minimum(before, tasks - 1)), first)
        return before, access.put(agent_of, task, agent)

    return lax.while_loop(lambda state: state[0] < tasks, take, (paths.nearest, agent_of))[1]
