"""The mutants of a source file, and the code that tells which of its statements run."""

import ast
import collections
import dataclasses
import marshal
import pathlib
import warnings
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from tests.tools.mutation.changes import NOT_MUTATED, Place, changes

PROBE = "__reached__"  # the function that `Source.probed` calls, with the file and the number of what runs


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change to a file.

    Attributes:
      number: among the mutants of the file.
      function: the qualified name of the function that changes, or that of a value of the module.
      change: what becomes of what; where a function has several of a kind, which one of how many.
      line: where.
      home: the statement or lambda that runs what changes, by its number: see `numbered`.
      reached_by: those statements of which one has run when a test has reached it.
      before: the changed lines, with their white space collapsed.
      after: the same, with the change.
    """

    file: str
    number: int
    function: str
    change: str
    line: int
    home: int
    reached_by: tuple[int, ...]
    before: str
    after: str

    @property
    def name(self) -> str:
        """One that a change to the file may give to another mutant."""
        return f"{self.file}#{self.number}"

    @property
    def key(self) -> tuple[str, str]:
        """What is changed, wherever the function is and however it is laid out."""
        return self.function, self.change


class Source:
    """A source file and its mutants."""

    def __init__(self, path: pathlib.Path, file: str) -> None:
        self.path, self.file = path, file
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        self.numbers = {node: number for number, node in enumerate(numbered(self.tree))}
        self.mutants: list[Mutant] = []
        self.changes: list[tuple[Place, ast.AST]] = []
        found = [
            (statement, place, change, replacement)
            for statement, place in self._places()
            for change, replacement in changes(place)
        ]
        # They are counted before those are dropped that compile to the same, which another Python may not.
        of_kind = collections.Counter((place.function, change) for _, place, change, _ in found)
        count, seen = collections.Counter(), {}
        for index, place, change, replacement in found:
            kind = place.function, change
            count[kind] += 1
            if of_kind[kind] > 1:
                change = f"{change}, {count[kind]} of {of_kind[kind]}"
            _locate(replacement, place.node)
            others = seen.setdefault(index, {_compiled(self.tree.body[index])})
            with place.holding(replacement):
                compiled = _compiled(self.tree.body[index])
            if compiled not in others:  # else the compiler makes the same of it as of another
                others.add(compiled)
                self._add(place, change, replacement)

    def code(self, mutant: Mutant | None = None) -> CodeType:
        """The compiled module, with one change."""
        if mutant is None:
            return self._compile(self.tree)
        place, replacement = self.changes[mutant.number]
        with place.holding(replacement):
            return self._compile(self.tree)

    def probed(self) -> CodeType:
        """The compiled module, in which every statement and every lambda tells that it runs."""
        tree = ast.parse(self.text)
        nodes = list(numbered(tree))

        def probe(node: ast.AST) -> ast.Expr:
            call = ast.Call(ast.Name(PROBE, ast.Load()), [ast.Constant(self.file), ast.Constant(nodes.index(node))], [])
            _locate(call, node)
            return ast.copy_location(ast.Expr(call), node)

        for node in list(ast.walk(tree)):
            if isinstance(node, ast.Lambda):
                both = ast.Tuple([probe(node).value, node.body], ast.Load())
                node.body = ast.Subscript(both, ast.Constant(1), ast.Load())
                _locate(node.body, node)
            for field, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                    first = _first_to_run(value) if field == "body" else 0
                    told = [x for child in value[first:] for x in (probe(child), child)]
                    setattr(node, field, value[:first] + told)
        return self._compile(tree)

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

    def _compile(self, tree: ast.Module) -> CodeType:
        return compile(tree, str(self.path), "exec", dont_inherit=True)

    def _add(self, place: Place, change: str, replacement: ast.AST) -> None:
        self.changes.append((place, replacement))
        (first, _), (last, _) = _extent(place.node)
        number, function = len(self.mutants), place.function
        mutant = Mutant(self.file, number, function, change, first + 1, place.home, place.reached_by, "", "")
        before, after = self.text.splitlines(), self.mutated_text(mutant).splitlines()
        rest = len(before) - last - 1
        changed = [" ".join(" ".join(x[first : len(x) - rest]).split()) for x in (before, after)]
        self.mutants.append(dataclasses.replace(mutant, before=changed[0], after=changed[1]))

    def _places(self) -> Iterator[tuple[int, Place]]:
        """Every place of the file, with the index of the statement of the module that it is in."""
        for index, statement in enumerate(self.tree.body):
            place = Place(
                statement, self.tree, "body", index, "", self.numbers[statement], self._users(statement), True
            )
            for inner in self._walk(place):
                yield index, inner

    def _users(self, statement: ast.stmt) -> tuple[int, ...]:
        """The numbers of what reads, in this file, what a statement of the module assigns."""
        stored = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_store(node)}
        return tuple(self.numbers[home] for home, name in _reads(self.tree, self.tree) if name in stored)

    def _walk(self, place: Place) -> Iterator[Place]:
        node = place.node
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.keyword) and node.arg in NOT_MUTATED:
            return
        yield place
        if isinstance(node, ast.Raise):
            return
        function = ".".join(filter(None, (place.function, _own_name(place))))
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(child, ast.AST):
                    continue
                home, reached_by = place.home, place.reached_by
                is_loading = place.is_loading and not (isinstance(node, ast.FunctionDef) and field == "body")
                if isinstance(child, ast.stmt):
                    home = self.numbers[child]
                    reached_by = () if is_loading else (home,)
                elif isinstance(node, ast.Lambda) and field == "body":
                    home = self.numbers[node]
                    reached_by = (home,)
                elif isinstance(node, ast.FunctionDef) and field == "args":  # its defaults count when it is called
                    reached_by = tuple(self.numbers[first] for first in node.body[_first_to_run(node.body) :][:1])
                yield from self._walk(Place(child, node, field, index, function, home, reached_by, is_loading))


def misplaced(explained: Iterable[tuple[str, str]], mutants: list[Mutant]) -> list[tuple[str, str]]:
    """Those keys of explanations that are not the key of exactly one mutant."""
    count = collections.Counter(mutant.key for mutant in mutants)
    return [key for key in explained if count[key] != 1]


_COMPOUND = (ast.BinOp, ast.BoolOp, ast.Compare, ast.UnaryOp, ast.IfExp, ast.Lambda)
_BINDING = (ast.BinOp, ast.BoolOp, ast.Compare, ast.UnaryOp, ast.IfExp, ast.Attribute, ast.Subscript, ast.Starred)


def numbered(tree: ast.Module) -> Iterator[ast.stmt | ast.Lambda]:
    """The statements and lambdas of a file; the place here is the number by which a run tells of them."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.Lambda))


def _first_to_run(body: list[ast.stmt]) -> int:
    """The index of the first statement that can tell that it runs: not a docstring or an import from the future."""
    for index, statement in enumerate(body):
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and getattr(statement, "module", None) != "__future__":
            return index
    return len(body)


def _own_name(place: Place) -> str:
    """What the qualified name of a node has besides that of its surroundings."""
    match place.node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if place.is_loading:
            return name
    return ""


def _reads(node: ast.AST, home: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every name that is read below a node, with the innermost statement or lambda around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Name) and not _is_store(child):
            yield home, child.id
        yield from _reads(child, child if isinstance(child, ast.stmt | ast.Lambda) else home)


def _compiled(statement: ast.stmt) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a mutant, such as an index of a number
        return marshal.dumps(compile(ast.Module([statement], []), "", "exec", dont_inherit=True))


def _needs_parentheses(place: Place, replacement: ast.AST) -> bool:
    """Whether a replacement may bind less tightly than what stood in its place."""
    if not isinstance(replacement, _COMPOUND) or not isinstance(place.parent, _BINDING):
        return False
    alike = type(replacement) is type(place.node)
    return not alike or isinstance(getattr(replacement, "op", None), ast.BitOr | ast.Or | ast.Mult)


def _extent(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """The line, from 0, and the column where a node begins and ends; of a comprehension its conditions."""
    if isinstance(node, ast.comprehension):
        (_, start), (_, end) = _extent(node.iter), _extent(node.ifs[-1])
        return start, end
    return (node.lineno - 1, node.col_offset), (node.end_lineno - 1, node.end_col_offset)


def _is_store(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _locate(replacement: ast.AST, node: ast.AST) -> None:
    # Nodes of the original keep their own lines.
    if not hasattr(replacement, "lineno"):
        ast.copy_location(replacement, node)
    for child in ast.iter_child_nodes(replacement):
        _locate(child, replacement if hasattr(replacement, "lineno") else node)
