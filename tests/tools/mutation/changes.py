"""The small changes to a syntax tree that ought to be errors."""

import ast
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from tests.tools.mutation.core import MODULES, import_name

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.And: "and",
    ast.Or: "or",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.UAdd: "+",
    ast.USub: "-",
    ast.Not: "not",
    ast.Invert: "~",
}
OPERATORS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
NAMES = {
    "maximum": "minimum",
    "minimum": "maximum",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "argmax": "argmin",
    "exp": "expm1",
    "expm1": "exp",
    "log": "log1p",
    "log1p": "log",
    "add": "sub",
    "sub": "add",
    "mul": "add",
    "eq": "ne",
    "and_": "or_",
    "ones_like": "zeros_like",
    "zeros_like": "ones_like",
    "float32": "float64",
    "float64": "float32",
    "sides_a": "sides_b",
    "sides_b": "sides_a",
    "area_a": "area_b",
    "area_b": "area_a",
    "low_offsets": "high_offsets",
    "high_offsets": "low_offsets",
}
# Calls that may be forgotten: what is left is their first argument.
FORGOTTEN = {
    "positive_part",
    "absolute",
    "abs",
    "stop_gradient",
    "seam",
    "square",
    "square_root",
    "sqrt",
    "sign",
    "clip",
}
# What someone would write who does not know `numerics`: of the same arguments, without keywords. Maximum and minimum
# are not here: their values and derivatives are those of jnp.
PLAIN = {
    "absolute": "jnp.abs",
    "square_root": "jnp.sqrt",
    "power": "jnp.power",
    "divide": "lambda x, y: x / y",
    "positive_part": "lambda x: jnp.maximum(x, 0)",
}
# What the primitives of PLAIN are attributes of.
NUMERICS = {import_name(file).split(".")[-1] for file in MODULES["numerics"]}
# The values of these keywords are messages, or guards against errors of this package's own making.
NOT_MUTATED = {"strict", "message", "error", "custom_message", "include_default_message", "exception_type"}


@dataclasses.dataclass
class Place:
    """A node, where it hangs, and what the walk knows of its surroundings.

    Attributes:
      function: the qualified name of the function or class that it is in, or the name that a module gives a value.
      home: the number of the innermost statement or lambda that runs it.
      reached_by: the numbers of those that have run when a test has reached it.
      is_loading: whether it runs when the module is loaded, unless it is in a lambda.
    """

    node: Any  # of the syntax tree
    parent: ast.AST
    field: str
    index: int | None
    function: str
    home: int
    reached_by: tuple[int, ...]
    is_loading: bool

    @contextlib.contextmanager
    def holding(self, replacement: ast.AST) -> Iterator[None]:
        """Has another node in its place."""
        children = getattr(self.parent, self.field)
        try:
            if self.index is None:
                setattr(self.parent, self.field, replacement)
            else:
                children[self.index] = replacement
            yield
        finally:
            if self.index is None:
                setattr(self.parent, self.field, self.node)
            else:
                children[self.index] = self.node


def changes(place: Place) -> Iterator[tuple[str, ast.AST]]:
    """What may take the place of a node, and what to call the change: in words that no name of a variable is in."""
    node = place.node
    if isinstance(place.parent, ast.If) and place.field == "test":
        yield from (("if -> if True", ast.Constant(True)), ("if -> if False", ast.Constant(False)))
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            for other in OPERATORS.get(type(op), []):
                yield _instead(op, other), ast.BinOp(left, other(), right)
        case ast.BoolOp(op=op, values=values):
            for other in OPERATORS[type(op)]:
                yield _instead(op, other), ast.BoolOp(other(), values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for index, op in enumerate(ops):
                for other in OPERATORS[type(op)]:
                    several = [*ops[:index], other(), *ops[index + 1 :]]
                    yield _instead(op, other), ast.Compare(left, several, comparators)
        case ast.UnaryOp(op=op, operand=operand):
            yield f"{SYMBOLS[type(op)]} left out", operand
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            other = 1.5 * value or 1.0
            yield f"{value} -> {other}", ast.Constant(other)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (("if else -> the first", body), ("if else -> the second", orelse))
        case ast.comprehension(ifs=[_, *_]):
            yield "if left out", ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Return(value=ast.Tuple(elts=elements)):
            yield "return in reverse", ast.Return(ast.Tuple(elements[::-1], ast.Load()))
        case ast.Raise() | ast.Continue():
            yield f"{type(node).__name__.lower()} left out", ast.Pass()
        case ast.Expr(value=ast.Call(func=function)):
            yield f"statement {_last_name(function)} left out", ast.Pass()
        case ast.Assign(targets=targets) if _is_assigned_again(place, targets):
            yield "= left out", ast.Pass()
        case ast.Call():
            yield from _calls(node)
        case ast.Name() | ast.Attribute() if isinstance(node.ctx, ast.Load):
            yield from _names(place)


def _instead(op: ast.AST, other: type[ast.AST]) -> str:
    return f"{SYMBOLS[type(op)]} -> {SYMBOLS[other]}"


def _is_assigned_again(place: Place, targets: list[ast.expr]) -> bool:
    """Whether names have a value already, so that the statement can be left out: they are read in what is assigned."""
    if place.is_loading:
        return False
    if any(isinstance(target, ast.Subscript) for target in targets):
        return True
    stored = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    read = {name.id for name in ast.walk(place.node.value) if isinstance(name, ast.Name)}
    return stored <= read or (isinstance(place.parent, ast.If) and place.field == "body" and not place.parent.orelse)


def _calls(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    function, arguments, keywords = call.func, call.args, call.keywords
    name = _last_name(function)
    if name == "where" and len(arguments) == 3:
        condition, first, second = arguments
        yield from (("where -> the first", first), ("where -> the second", second))
        yield "where in reverse", ast.Call(function, [condition, second, first], keywords)
    if name in FORGOTTEN and arguments:
        yield f"{name} left out", arguments[0]
    if _is_of_numerics(function):
        match name:
            case "divide":
                yield "divide -> /", ast.BinOp(arguments[0], ast.Div(), arguments[1])
            case "positive_part":
                plain = ast.Call(_parsed("jnp.maximum"), [*arguments, ast.Constant(0)], [])
                yield "positive_part -> jnp.maximum", plain
            case _ if name in PLAIN:
                yield f"{name} -> {PLAIN[name]}", ast.Call(_parsed(PLAIN[name]), arguments, [])
    if name[:1].isupper():
        return
    for index, keyword in enumerate(keywords):
        if keyword.arg and keyword.arg not in NOT_MUTATED:
            others = keywords[:index] + keywords[index + 1 :]
            yield f"{name} {keyword.arg}= left out", ast.Call(function, arguments, others)


def _names(place: Place) -> Iterator[tuple[str, ast.expr]]:
    node = place.node
    name = _last_name(node)
    other = NAMES.get(name)
    if other and isinstance(node, ast.Attribute):
        yield f"{name} -> {other}", ast.Attribute(node.value, other, ast.Load())
    elif other and isinstance(place.parent, ast.Call) and place.field == "func":
        yield f"{name} -> {other}", ast.Name(other, ast.Load())
    is_argument = isinstance(place.parent, ast.Call) and place.field == "args"
    if name in PLAIN and is_argument and _is_of_numerics(node):
        yield f"{name} -> {PLAIN[name]}", _parsed(PLAIN[name])


def _last_name(function: ast.expr) -> str:
    return getattr(function, "attr", None) or getattr(function, "id", "")


def _is_of_numerics(function: ast.expr) -> bool:
    """Whether a name is that of a primitive: an attribute of `numerics` or of a module of it, or a bare name."""
    if isinstance(function, ast.Attribute):
        return ast.unparse(function.value) in NUMERICS
    return isinstance(function, ast.Name)


def _parsed(expression: str) -> ast.expr:
    tree = ast.parse(expression, mode="eval").body
    for node in ast.walk(tree):
        for attribute in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            if hasattr(node, attribute):
                delattr(node, attribute)
    return tree
