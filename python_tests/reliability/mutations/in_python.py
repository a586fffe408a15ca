"""Where a Python file can be mutated: what stands in its functions, by the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from .change import COMPARISONS, OPERATORS, Change, swappable

_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_IN_WORDS = {ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.And: "and", ast.Or: "or"}
_SYMBOLS = _ARITHMETIC | _COMPARED | _IN_WORDS
_WORDS = {"is": "is not", "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and"}
_OTHERS = OPERATORS | COMPARISONS | _WORDS
# Types are for mypy, not for tests; the rest guards against what cannot happen, or says where a warning points.
_LEFT_OUT = ("annotation", "returns", "decorator_list")
_LEFT_OUT_KEYWORDS = ("strict", "stacklevel")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _nodes(node: ast.AST, function: _Function | None = None) -> Iterator[tuple[ast.AST, _Function]]:
    """What stands in a function, with that; not in f-strings, inside which old Pythons know no positions."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if name in _LEFT_OUT or not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.keyword) and child.arg in _LEFT_OUT_KEYWORDS:
                continue
            inside = child if isinstance(child, _Function) else function
            if inside is not None:
                yield child, inside
            yield from _nodes(child, inside)


def _bound_before(assignment: ast.Assign, function: _Function) -> bool:
    """Have the names a value without the assignment too? Without any the next line would fail in every call."""
    earlier = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    names = [each for each in ast.walk(function) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
    earlier |= {each.id for each in names if each.lineno < assignment.lineno}
    assigned = [each for target in assignment.targets for each in ast.walk(target) if each in names]
    return {each.id for each in assigned} <= earlier


def _offsets(text: str) -> Callable[[int, int], int]:
    """From the positions of the tree, lines and bytes, to those of the text."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return lambda line, column: starts[line - 1] + len(lines[line - 1].encode()[:column].decode())


def changes(text: str) -> list[Change]:
    """Every change to the functions of a file."""
    offset, found = _offsets(text), []

    def start(node: ast.AST) -> int:
        return offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(node: ast.AST) -> int:
        return offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def source(node: ast.AST) -> str:
        return text[start(node) : end(node)]

    for node, function in _nodes(ast.parse(text)):

        def add(kind: str, first: int, last: int, replacement: str, of: _Function = function) -> None:
            found.append(Change(kind, first, last, replacement, of.name, start(of)))

        def replace(kind: str, old: ast.AST, form: str) -> None:
            add(kind, start(old), end(old), form.format(source(old)))

        def operator(left: ast.AST, right: ast.AST, kind: ast.AST) -> None:
            symbol, first = _SYMBOLS.get(type(kind)), end(left)
            between = text[first : start(right)]
            if symbol is not None and between.strip("() \n\\") == symbol:
                at = first + between.index(symbol)
                add("operator", at, at + len(symbol), _OTHERS[symbol])

        match node:
            case ast.BinOp():
                operator(node.left, node.right, node.op)
            case ast.BoolOp():
                for k in range(len(node.values) - 1):
                    operator(node.values[k], node.values[k + 1], node.op)
            case ast.Compare():
                terms = [node.left, *node.comparators]
                for k, op in enumerate(node.ops):
                    operator(terms[k], terms[k + 1], op)
            case ast.Slice():
                for bound in (node.lower, node.upper):
                    if bound is not None:
                        replace("bound", bound, "{} + 1")
            case ast.Subscript(slice=ast.BinOp() | ast.UnaryOp()):
                replace("bound", node.slice, "{} + 1")
            case ast.Subscript(slice=ast.Constant(value=int())):
                replace("bound", node.slice, str(node.slice.value + 1))
            case ast.Constant(value=bool()):
                replace("constant", node, str(not node.value))
            case ast.Constant(value=int() | float()):
                replace("constant", node, str(node.value + 1))
            case ast.Expr(value=ast.Call()) | ast.AugAssign():
                replace("dropped", node, "pass")
            case ast.Assign() if _bound_before(node, function):
                replace("dropped", node, "pass")
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            replace("negated", node.test, "not ({})")
        if isinstance(node, ast.comprehension):
            for condition in node.ifs:
                replace("negated", condition, "not ({})")
        if isinstance(node, ast.Call) and not any(isinstance(each, ast.Starred) for each in node.args):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else source(node.func)
            if name == "range":
                replace("bound", node.args[min(1, len(node.args) - 1)], "{} + 1")
            for k in swappable(name, [source(each) for each in node.args]):
                one, other = node.args[k], node.args[k + 1]
                between = text[end(one) : start(other)]
                add("swapped", start(one), end(other), source(other) + between + source(one))
    return found
