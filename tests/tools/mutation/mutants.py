"""The mutants of a source file: every small change to its syntax tree that ought to be an error."""

import ast
import contextlib
import dataclasses
import marshal
import pathlib
from collections.abc import Iterator
from types import CodeType

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
# The values of these keywords are messages, or guards against errors of this package's own making.
NOT_MUTATED = {"strict", "message", "error", "custom_message", "include_default_message", "exception_type"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change to a file.

    `lines` are those whose execution shows that a test reaches it; `before` and `after` are the changed lines, with
    their white space collapsed.
    """

    file: str
    number: int
    function: str
    line: int
    lines: tuple[int, ...]
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.file}#{self.number}"

    @property
    def text(self) -> tuple[str, str, str, str]:
        """What is changed, without a number that other changes of the file would move."""
        return self.file, self.function, self.before, self.after


@dataclasses.dataclass
class Place:
    """A node, where it hangs, and what the walk knows of its surroundings."""

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    function: str
    lines: tuple[int, ...]

    @contextlib.contextmanager
    def holding(self, replacement: ast.AST) -> Iterator[None]:
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


class Source:
    """A source file and its mutants."""

    def __init__(self, path: pathlib.Path, file: str) -> None:
        self.path, self.file = path, file
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        self.mutants: list[Mutant] = []
        self.changes: list[tuple[Place, ast.AST]] = []
        for index, statement in enumerate(self.tree.body):
            seen = {_compiled(statement)}
            for place in self._walk(Place(statement, self.tree, "body", index, "", self._users(statement))):
                for replacement in replacements(place):
                    _locate(replacement, place.node)
                    with place.holding(replacement):
                        compiled = _compiled(self.tree.body[index])
                    if compiled not in seen:  # else the compiler makes the same of it as of another
                        seen.add(compiled)
                        self._add(place, replacement)

    def code(self, mutant: Mutant) -> CodeType:
        """The compiled module with one change."""
        place, replacement = self.changes[mutant.number]
        with place.holding(replacement):
            return compile(self.tree, str(self.path), "exec", dont_inherit=True)

    def mutated_text(self, mutant: Mutant) -> str:
        """The file with one change."""
        place, replacement = self.changes[mutant.number]
        text = "" if isinstance(replacement, ast.comprehension) else ast.unparse(replacement)
        if _needs_parentheses(place, replacement):
            text = f"({text})"
        lines = [line.encode() for line in self.text.splitlines(keepends=True)]
        (first, start), (last, end) = _extent(place.node)
        head, tail = lines[first][:start], lines[last][end:]
        return b"".join([*lines[:first], head, text.encode(), tail, *lines[last + 1 :]]).decode()

    def _add(self, place: Place, replacement: ast.AST) -> None:
        self.changes.append((place, replacement))
        (first, _), (last, _) = _extent(place.node)
        mutant = Mutant(self.file, len(self.mutants), place.function, first + 1, place.lines, "", "")
        before, after = self.text.splitlines(), self.mutated_text(mutant).splitlines()
        rest = len(before) - last - 1
        changed = [" ".join(" ".join(x[first : len(x) - rest]).split()) for x in (before, after)]
        self.mutants.append(dataclasses.replace(mutant, before=changed[0], after=changed[1]))

    def _users(self, statement: ast.stmt) -> tuple[int, ...]:
        """The lines that read what a statement of the module assigns."""
        stored = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_store(node)}
        return tuple(
            node.lineno
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Name) and node.id in stored and not _is_store(node)
        )

    def _walk(self, place: Place) -> Iterator[Place]:
        node = place.node
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.keyword) and node.arg in NOT_MUTATED:
            return
        yield place
        if isinstance(node, ast.Raise):
            return
        function = place.function
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".removeprefix(".")
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST):
                    continue
                lines = place.lines
                if isinstance(child, ast.stmt) and not isinstance(node, ast.Module):
                    lines = _lines_of(child)
                elif isinstance(node, ast.FunctionDef) and field == "args":  # of its defaults
                    lines = tuple(range(node.body[0].lineno, node.body[-1].end_lineno + 1))
                yield from self._walk(Place(child, node, field, index, function, lines))


_COMPOUND = (ast.BinOp, ast.BoolOp, ast.Compare, ast.UnaryOp, ast.IfExp, ast.Lambda)
_BINDING = (ast.BinOp, ast.BoolOp, ast.Compare, ast.UnaryOp, ast.IfExp, ast.Attribute, ast.Subscript, ast.Starred)


def _compiled(statement: ast.stmt) -> bytes:
    return marshal.dumps(compile(ast.Module([statement], []), "", "exec", dont_inherit=True))


def _needs_parentheses(place: Place, replacement: ast.AST) -> bool:
    """Whether a replacement may bind less tightly than what stood in its place."""
    if not isinstance(replacement, _COMPOUND) or not isinstance(place.parent, _BINDING):
        return False
    alike = type(replacement) is type(place.node)
    return not alike or isinstance(getattr(replacement, "op", None), ast.BitOr | ast.Or | ast.Mult)


def _extent(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    """The line, from 0, and the column where a node begins and ends; of a comprehension its conditions."""
    if isinstance(node, ast.comprehension):
        start, end = node.iter, node.ifs[-1]
        return (start.end_lineno - 1, start.end_col_offset), (end.end_lineno - 1, end.end_col_offset)
    return (node.lineno - 1, node.col_offset), (node.end_lineno - 1, node.end_col_offset)


def _is_store(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _lines_of(statement: ast.stmt) -> tuple[int, ...]:
    """The lines of a statement, of one with a body those of its head."""
    body = getattr(statement, "body", None)
    return tuple(range(statement.lineno, body[0].lineno if body else statement.end_lineno + 1))


def _locate(replacement: ast.AST, node: ast.AST) -> None:
    # Nodes of the original keep their own lines.
    if not hasattr(replacement, "lineno"):
        ast.copy_location(replacement, node)
    for child in ast.iter_child_nodes(replacement):
        _locate(child, replacement if hasattr(replacement, "lineno") else node)


def _parsed(expression: str) -> ast.expr:
    tree = ast.parse(expression, mode="eval").body
    for node in ast.walk(tree):
        for attribute in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            if hasattr(node, attribute):
                delattr(node, attribute)
    return tree


def replacements(place: Place) -> Iterator[ast.AST]:
    """What may take the place of a node."""
    node = place.node
    if isinstance(place.parent, ast.If) and place.field == "test":
        yield from (ast.Constant(True), ast.Constant(False))
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            yield from (ast.BinOp(left, other(), right) for other in OPERATORS.get(type(op), []))
        case ast.BoolOp(op=op, values=values):
            yield from (ast.BoolOp(other(), values) for other in OPERATORS[type(op)])
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for index, op in enumerate(ops):
                for other in OPERATORS[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], comparators)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(1.5 * value or 1.0)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Return(value=ast.Tuple(elts=elements)):
            yield ast.Return(ast.Tuple(elements[::-1], ast.Load()))
        case ast.Raise() | ast.Continue() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=targets) if _is_assigned_again(place, targets):
            yield ast.Pass()
        case ast.Call():
            yield from _calls(node)
        case ast.Name() | ast.Attribute() if isinstance(node.ctx, ast.Load):
            yield from _names(place)


def _is_assigned_again(place: Place, targets: list[ast.expr]) -> bool:
    """Whether names have a value already, so that the statement can be left out: they are read in what is assigned."""
    if not place.function:
        return False
    if any(isinstance(target, ast.Subscript) for target in targets):
        return True
    stored = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    read = {name.id for name in ast.walk(place.node.value) if isinstance(name, ast.Name)}
    return stored <= read or (isinstance(place.parent, ast.If) and place.field == "body" and not place.parent.orelse)


def _calls(call: ast.Call) -> Iterator[ast.expr]:
    function, arguments, keywords = call.func, call.args, call.keywords
    name = _last_name(function)
    if name == "where" and len(arguments) == 3:
        condition, first, second = arguments
        yield from (first, second, ast.Call(function, [condition, second, first], keywords))
    if name in FORGOTTEN and arguments:
        yield arguments[0]
    if _is_of_numerics(function):
        match name:
            case "divide":
                yield ast.BinOp(arguments[0], ast.Div(), arguments[1])
            case "positive_part":
                yield ast.Call(_parsed("jnp.maximum"), [*arguments, ast.Constant(0)], [])
            case _ if name in PLAIN:
                yield ast.Call(_parsed(PLAIN[name]), arguments, [])
    if name[:1].isupper():
        return
    for index, keyword in enumerate(keywords):
        if keyword.arg and keyword.arg not in NOT_MUTATED:
            yield ast.Call(function, arguments, keywords[:index] + keywords[index + 1 :])


def _names(place: Place) -> Iterator[ast.expr]:
    node = place.node
    name = _last_name(node)
    other = NAMES.get(name)
    if other and isinstance(node, ast.Attribute):
        yield ast.Attribute(node.value, other, ast.Load())
    elif other and isinstance(place.parent, ast.Call) and place.field == "func":
        yield ast.Name(other, ast.Load())
    is_argument = isinstance(place.parent, ast.Call) and place.field == "args"
    if name in PLAIN and is_argument and _is_of_numerics(node):
        yield _parsed(PLAIN[name])


def _last_name(function: ast.expr) -> str:
    return getattr(function, "attr", None) or getattr(function, "id", "")


def _is_of_numerics(function: ast.expr) -> bool:
    """Whether a name is that of a primitive: an attribute of `numerics`, or a bare name within it."""
    return isinstance(function, ast.Name) or ast.unparse(function).startswith("numerics.")
