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

from jaxbox import numerics
from jaxbox._assignment.problems import INDEX, filled

__all__ = ["Costs", "Paths", "next_agent", "prices_after", "scan", "start"]


class Costs(NamedTuple):
    """The finite costs of one problem.

    Attributes:
      row: what the tasks cost an agent, `[T]`: a function of the agent.
      entry: what a task costs an agent: a function of both.
      agents: how many there are.
    """

    row: Callable[[jax.Array], jax.Array]
    entry: Callable[[jax.Array, jax.Array], jax.Array]
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


def start(prices: jax.Array) -> Paths:
    """The paths before the first scan.

    Args:
      prices: of the tasks, `[T]`; -infinity for a task that may not be given.
    """
    tasks = prices.shape[0]
    return Paths(
        filled(prices, jnp.inf, prices.dtype),
        filled(prices, tasks, INDEX),
        prices,
        filled(prices[0], 3 * tasks, INDEX),
        filled(prices[0], 0, prices.dtype),
    )


def scan(costs: Costs, agent_of: jax.Array, first: jax.Array, paths: Paths, lanes: int = 1) -> Paths:
    """Closes the nearest task and goes on from the agent that has it, or begins with the first agent.

    Args:
      costs: of the problem.
      agent_of: the agent of each task, `[T]`; from A on if it is free.
      first: the agent at which the paths begin.
      paths: what is known; its nearest task is not free.
      lanes: of how many numbers a minimum is taken at once; a divisor of T.

    Returns:
      What is known then. Of several nearest tasks one that is free is the nearest.
    """
    tasks = agent_of.shape[0]
    places = jnp.arange(tasks, dtype=INDEX)
    closed = paths.nearest - tasks
    begins, held = closed >= tasks, jnp.clip(closed, 0, tasks - 1)
    agent = jnp.minimum(jnp.where(begins, first, agent_of[held]), costs.agents - 1)
    given_up = jnp.where(begins, 0, costs.entry(agent, held) - paths.prices[held])
    prices = jnp.where(places == closed, -jnp.inf, paths.prices)
    lengths = costs.row(agent) - prices + (paths.shortest - given_up)
    is_shorter = lengths < paths.lengths
    lengths, before = jnp.where(is_shorter, lengths, paths.lengths), jnp.where(is_shorter, closed, paths.before)
    open_lengths = jnp.where(prices == -jnp.inf, jnp.inf, lengths)
    shortest = _lowest(open_lengths, lanes)
    numbers = jnp.where(agent_of < costs.agents, places + tasks, places).astype(lengths.dtype)
    nearest = _lowest(jnp.where(open_lengths == shortest, numbers, 3 * tasks), lanes)
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
    numbers = jnp.arange(waits.shape[0], dtype=INDEX)
    return jnp.min(jnp.where(waits & (numbers > agent), numbers, waits.shape[0]))
