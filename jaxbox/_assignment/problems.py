"""A batch of assignment problems, and costs that are made finite."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["INDEX", "Problems", "Scale", "filled", "without_forbidden"]

INDEX = np.int32


def filled(like: jax.Array, value: float, dtype: np.dtype | type) -> jax.Array:
    """An array that holds one value, with the shape of another one.

    It is made of the other one, since a constant does not vary over the devices of a `shard_map`, and what a loop
    carries must do so from the start.
    """
    return jnp.where(like == like, jnp.asarray(value, dtype), jnp.asarray(value, dtype))


class Problems(NamedTuple):
    """A batch of assignment problems.

    Attributes:
      costs: `[B, N, M]`, floating point. NaN and infinity forbid a pair, -infinity forces one.
      agents: which agents take part, `[B, A]`; in no problem are they more than its tasks.
      tasks: which tasks may be given, `[B, T]`, or None for all.
      agent_axis: 1 if the rows are the agents, 2 if the columns are.
    """

    costs: jax.Array
    agents: jax.Array
    tasks: jax.Array | None
    agent_axis: int

    @property
    def task_axis(self) -> int:
        """The axis of the tasks."""
        return 3 - self.agent_axis

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many problems, agents and tasks there are; a number may be a symbol of `jax.export`."""
        shape = self.costs.shape
        return shape[0], shape[self.agent_axis], shape[self.task_axis]

    @property
    def dtype(self) -> np.dtype:
        """In which to compute."""
        return np.dtype(np.float64 if self.costs.dtype == jnp.float64 else np.float32)


class Scale(NamedTuple):
    """How the costs of a problem are made finite, and of a size near 1 that no sum of them overflows from.

    Attributes:
      root: the square root of the factor, which is a power of two and may itself be too small for the dtype.
      forced: the cost of a pair that is forced.
      forbidden: the cost of a pair that is forbidden.
    """

    root: jax.Array
    forced: jax.Array
    forbidden: jax.Array

    @classmethod
    def of(cls, least: jax.Array, most: jax.Array, forces: jax.Array, pairs: int) -> Scale:
        """The scale of problems.

        A pair that is forced outweighs all differences of the others, and one that is forbidden outweighs these too,
        but by no more than that: a fixed large number would leave no digits for the costs.

        Args:
          least: the least finite cost of each problem; above `most` if there is none.
          most: the largest finite cost.
          forces: whether any pair is forced.
          pairs: how many pairs there can be.
        """
        least, most = jnp.where(least <= most, least, 0), jnp.where(least <= most, most, 0)
        precision = jnp.finfo(least.dtype)
        # Costs are held constant, so that absolute value, maximum and root may be those of jnp.
        largest = jnp.maximum(jnp.maximum(jnp.abs(least), jnp.abs(most)), precision.tiny)
        root = 1 / lax.reduce_precision(jnp.sqrt(largest), precision.nexp, 0)  # without mantissa: a power of two
        least, most = least * root * root, most * root * root
        forced = jnp.where(forces, least - (most - least) * pairs - 1, least)
        return cls(root, forced, most + (most - forced) * pairs + 1)

    def finite(self, costs: jax.Array) -> jax.Array:
        """Costs as they are added up. The scale must broadcast to them."""
        costs = costs.astype(self.root.dtype)
        costs = jnp.where(costs == -jnp.inf, self.forced, costs * self.root * self.root)
        return jnp.where(costs < self.forbidden, costs, self.forbidden)


def without_forbidden(problems: Problems, agent_of: jax.Array) -> jax.Array:
    """The agent of each task, `[B, T]`, without the pairs that are forbidden and had to be made."""
    agents = problems.sizes[1]
    at_most = jnp.expand_dims(jnp.minimum(agent_of, agents - 1), problems.agent_axis)
    costs = jnp.take_along_axis(problems.costs, at_most, axis=problems.agent_axis)
    return jnp.where(jnp.squeeze(costs, problems.agent_axis) < jnp.inf, agent_of, agents)
