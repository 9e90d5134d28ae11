"""What coders do around a formula: arguments are checked, coordinates taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import _checks, numerics
from jaxbox._checks import BOXES

LARGEST = 50.0  # logarithm of a factor of a side, where no other limit is asked for: sides stay finite
BOX, CODE, POINT, ANGLE = "box", "code", "point", "angle"
TURNED, TURNED_CODE = "turned box", "code of a turned box"


# What is asserted about arguments.


def coder(
    options: dict[str, _checks.Interval] | None = None, /, **arrays: str
) -> Callable[[_checks.Function], _checks.Function]:
    """Makes a public function of a formula that takes boxes, their codes or points, and options within intervals."""

    def check(_: str, given: _checks.Given, untouched: _checks.Given) -> _checks.Given:
        found = {name: _array(name, given[name], what) for name, what in arrays.items()}
        first, *others = (name for name in found if arrays[name] != ANGLE)
        for other in others:
            _check_dimensions({name: found[name] for name in (first, other)}, arrays)
        leading = _leading({name: array for name, array in found.items() if arrays[name] != ANGLE})
        for name in (name for name in found if arrays[name] == ANGLE):
            _checks.fitted(name, found[name], leading)
        dtype = _checks.dtype_to_compute_in(list(found.values()))
        for name, interval in (options or {}).items():
            if name not in untouched:
                shape = (found[first].shape[-1],) if name == "weights" else leading
                given[name] = _option(name, given[name], interval, shape, dtype)
        given |= found
        return {}

    return _checks.checked(check)


def _array(name: str, value: object, what: str) -> _checks.Array:
    if what == BOX:
        return _checks.laid_out(name, value, BOXES)
    if what == TURNED:
        return _checks.laid_out(name, value, _checks.TURNED)
    array = _checks.floats(name, value)
    if what == TURNED_CODE and array.shape[-1:] != (5,):
        raise ValueError(f"`{name}` has shape {array.shape}, but the code of a turned box is `[..., 5]`.")
    if what == ANGLE:
        return array
    if array.ndim == 0 or array.shape[-1] == 0 or (what == CODE and array.shape[-1] % 2):
        wanted = "`[..., 2n]`, as many numbers as a box has" if what == CODE else "`[..., n]`"
        raise ValueError(f"`{name}` has shape {array.shape}, but it is {wanted}.")
    return array


def _check_dimensions(pair: dict[str, _checks.Array], kinds: dict[str, str]) -> None:
    lengths = [array.shape[-1] // (1 if kinds[name] == POINT else 2) for name, array in pair.items()]
    if lengths[0] != lengths[1]:
        shapes = " and ".join(f"`{name}` of shape {array.shape}" for name, array in pair.items())
        wanted = " and ".join(f"`[..., {'n' if kinds[name] == POINT else '2n'}]`" for name in pair)
        raise ValueError(f"Got {shapes}, but the last axes are {wanted} for one n.")


def _leading(arrays: dict[str, _checks.Array]) -> _checks.Shape:
    try:
        return jnp.broadcast_shapes(*(array.shape[:-1] for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"`{name}` of shape {array.shape}" for name, array in arrays.items())
        failed = f"Got {shapes}, whose leading axes do not broadcast."
    raise ValueError(failed)


def _option(
    name: str, value: object, interval: _checks.Interval, wanted: _checks.Shape, dtype: np.dtype
) -> _checks.Array:
    """An option of one number in all, or of a shape that broadcasts to what is wanted."""
    if isinstance(value, (tuple, list)) and all(isinstance(number, (int, float)) for number in value):
        value = np.asarray(value, np.float64)
    shape = np.shape(value) if isinstance(value, np.generic) else getattr(value, "shape", ())
    try:
        fits = jnp.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"`{name}` has shape {shape}, but it is one number in all, or {wanted}.")
    return _checks.option(name, value, interval, shape, dtype)


# What formulas share: coordinates apart, all of one rank.


def apart(*arrays: jax.Array | np.ndarray) -> tuple[tuple[jax.Array, ...], ...]:
    """The coordinates of each array, all with as many axes and in the dtype to compute in."""
    rank = max(array.ndim for array in arrays)
    return numerics.coordinates(*(jnp.expand_dims(array, range(rank - array.ndim)) for array in arrays))


def aligned(option: float | jax.Array | np.ndarray, like: jax.Array) -> _checks.Array:
    """An option that is no single number with as many axes as a coordinate has."""
    return jnp.expand_dims(option, range(like.ndim - jnp.ndim(option))) if jnp.ndim(option) else option


def columns(weights: _checks.Array, count: int) -> list[_checks.Array]:
    """The weight of each number of a code, from one in all or one each."""
    return [weights[k] if jnp.ndim(weights) and len(weights) > 1 else weights for k in range(count)]


def halves(coordinates: Sequence[jax.Array]) -> tuple[Sequence[jax.Array], Sequence[jax.Array]]:
    """The two halves of the last axis of a box or a code."""
    n = len(coordinates) // 2
    return coordinates[:n], coordinates[n:]


def together(first: Iterable[_checks.Array], second: Iterable[_checks.Array]) -> jax.Array:
    """The last axis of two halves, `[..., 2n]`."""
    return jnp.moveaxis(jnp.stack(jnp.broadcast_arrays(*first, *second)), 0, -1)


def box(centers: Sequence[jax.Array], sides: Sequence[jax.Array]) -> jax.Array:
    """Boxes of centers and sides, `[..., 2n]`."""
    pairs = list(zip(centers, sides, strict=True))
    return together((center - side / 2 for center, side in pairs), (center + side / 2 for center, side in pairs))
