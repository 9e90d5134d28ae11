"""What is asserted about matrices with a row for each prediction and a column for each target, and about slots."""

import chex
import jax.numpy as jnp

from jaxbox._checks.arrays import Array, Shape, array_of, assert_shape, floats, is_floating, mask


def matrix(name: str, value: object) -> Array:
    """The matrices of numbers that an argument is.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.

    Returns:
      An array of JAX or NumPy, `[..., N, M]`, floating point.

    Raises:
      TypeError: if it is no array, or not of floating point.
      ValueError: if it has fewer than two axes.
    """
    array = array_of(name, value)
    if not is_floating(array.dtype):
        real = ".real" if array.dtype.kind == "c" else ""
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but it is of floating point. Write `{name}{real}.astype(jnp.float32)`."
        )

    def message() -> str:
        said = (
            f"`{name}` has shape {array.shape}, but it is `[..., N, M]`: a row for each prediction, a column for each"
        )
        return f"{said} target." + (f" For one prediction write `{name}[None]`." if array.ndim else "")

    assert_shape(lambda: chex.assert_equal(array.ndim >= 2, True), message)
    return floats(name, array)


def mask_of_side(name: str, value: Array, of: tuple[str, Shape], axis: int) -> Array:
    """The mask of the rows or of the columns that an argument is, or None.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.
      of: the name and the shape of the matrices.
      axis: -2 for rows, -1 for columns.

    Returns:
      A boolean array of JAX or NumPy, whose leading axes broadcast to those of the matrices, or None.

    Raises:
      TypeError: if it is not an array of booleans.
      ValueError: if it has another shape.
    """
    if value is None:
        return None
    array = mask(value, jnp.shape(value), name)
    matrices, shape = of
    leading, count, side = shape[:-2], shape[axis], ("row", "column")[axis]

    def holds() -> None:
        chex.assert_equal(array.ndim >= 1 and array.shape[-1] == count, True)
        chex.assert_equal(jnp.broadcast_shapes(array.shape[:-1], leading), leading)

    def message() -> str:
        said = f"`{name}` has shape {array.shape}, but there is one value a {side}, {(*leading, count)}; axes at the"
        said += " front may be missing or of length 1."
        other = ("column_where", "row_where")[axis]
        if array.shape == shape:
            return f"{said} If it is one of pairs, write `jnp.where({name}, {matrices}, jnp.inf)` for the {matrices}."
        if array.shape == (*leading, shape[-3 - axis]):
            return f"{said} Write `{other}={name}`."
        if array.ndim and array.shape[-1] == count and len(array.shape) - 1 > len(leading):
            return f"{said} Write `jnp.broadcast_to({matrices}, {(*array.shape[:-1], *shape[-2:])})`."
        if array.shape == (*leading, count, 1) or array.shape == (*leading, 1, count):
            return f"{said} Write `{name}[..., {'0, :' if array.shape[-1] == count else '0'}]`."
        return said

    def broadcasts() -> None:
        try:
            holds()
        except ValueError as error:
            raise AssertionError from error

    assert_shape(broadcasts, message)
    return array


def indices(name: str, value: object) -> Array:
    """The slots that an argument is.

    Args:
      name: of the argument, which the message repeats.
      value: the argument.

    Returns:
      An array of JAX or NumPy, `[..., N]`, of whole numbers.

    Raises:
      TypeError: if it is no array, or not of whole numbers.
      ValueError: if it has no axis.
    """
    array = array_of(name, value)
    if array.dtype.kind not in "iu":
        remedy = "" if array.dtype == bool else f" Write `{name}.astype(jnp.int32)`."
        raise TypeError(
            f"`{name}` has dtype {array.dtype}, but slots are whole numbers, M of M slots for none.{remedy}"
        )
    assert_shape(
        lambda: chex.assert_equal(array.ndim >= 1, True),
        lambda: f"`{name}` has shape (), but slots are `[..., N]`. Write `{name}[None]`.",
    )
    return array
