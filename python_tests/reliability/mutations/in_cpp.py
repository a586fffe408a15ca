"""Where a C++ file can be mutated: what stands in its functions, by tokens.

clang-format decides what a token alone does not say: a binary operator has space on both sides; a bracket of a template
has none inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .change import COMPARISONS, OPERATORS, Change, swappable

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
    |(?P<number>(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][-+]?\d+)?)\w*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<other>->|::|\+\+|--|&&|\|\||<<=|>>=|[-+*/%&|^=!<>]=|<<|\S)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_OTHERS = OPERATORS | COMPARISONS | {"&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "/="}
_ASSIGNS = frozenset({"=", "+=", "-=", "*=", "/=", "|=", "&=", "^=", "++", "--"})
_CLOSING = {")": "(", "]": "[", "}": "{", ">": "<"}
# What stands in their parentheses is for the compiler, or no expression.
_NO_CALLS = frozenset({"alignas", "asm", "catch", "decltype", "sizeof", "static_assert", "volatile", "_Pragma"})
_HEADS = frozenset({"for", "if", "switch", "while"})
_NO_STATEMENT = _NO_CALLS | _HEADS | {"case", "constexpr", "default", "delete", "do", "return", "throw", "using"}

MOST_LINES = 3  # of a statement that is dropped: what is missed without more is plain


class Token(NamedTuple):
    """A token that is compiled."""

    text: str
    start: int
    end: int
    sort: str  # name, number, string or other


def tokens(text: str) -> list[Token]:
    """All but comments, directives, and what stands in an #if: for some compilers or builds only."""
    found, conditions = [], 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "directive":
            word = match[0].strip(" \t#").partition(" ")[0]
            conditions += word.startswith("if") - word.startswith("endif")
        elif match.lastgroup != "comment" and conditions == 0:
            found.append(Token(match[0], match.start(), match.end(), str(match.lastgroup)))
    return found


class _File:
    """The tokens, with the brackets that belong together."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, tokens(text)
        self.partner: dict[int, int] = {}
        self.inner: list[int] = []  # the bracket around each token, -1 for none
        self.hidden: list[bool] = []  # in a template bracket or no call
        around: list[int] = []
        for k, token in enumerate(self.tokens):
            while token.text in ")]}" and self.tokens[around[-1]].text == "<":
                around.pop()
            closes = token.text in _CLOSING and around and self.tokens[around[-1]].text == _CLOSING[token.text]
            if closes and not (token.text == ">" and self._spaced(k)):
                self.partner[k], self.partner[around[-1]] = around[-1], k
                around.pop()
            self.inner.append(around[-1] if around else -1)
            self.hidden.append(bool(around) and (self.hidden[around[-1]] or self._hides(around[-1])))
            template = token.text == "<" and (not self.space_before(k) or self.at(k - 1) == "template")
            if template or token.text in "([{":
                around.append(k)
        if around:
            raise ValueError("brackets that are not closed")

    def at(self, k: int) -> str:
        return self.tokens[k].text if 0 <= k < len(self.tokens) else ""

    def source(self, first: int, last: int) -> str:
        """From one token to another, with both."""
        return self.text[self.tokens[first].start : self.tokens[last].end]

    def space_before(self, k: int) -> bool:
        return self.text[self.tokens[k].start - 1].isspace()

    def _spaced(self, k: int) -> bool:
        return self.space_before(k) and self.text[self.tokens[k].end].isspace()

    def _hides(self, opening: int) -> bool:
        return self.at(opening) == "<" or (self.at(opening) == "(" and self.at(opening - 1) in _NO_CALLS)

    def functions(self) -> Iterator[tuple[str, int, int]]:
        """Name and braces: outermost braces whose heading has parentheses."""
        begin, k = 0, 0
        while k < len(self.tokens):
            if self.at(k) == "{" and self.at(self.inner[k]) != "(":
                calls = [n for n in range(begin, k) if self.at(n + 1) == "(" and self.tokens[n].sort == "name"]
                if calls:
                    names = [self.at(n) for n in calls if not self.at(n).isupper()]
                    yield (names or [self.at(calls[0])])[0], k, self.partner[k]
                    k = self.partner[k]
            if self.at(k) in {"{", "}", ";"}:
                begin = k + 1
            k += 1

    def top(self, opening: int, text: str) -> list[int]:
        """Where a token stands directly in brackets."""
        return [k for k in range(opening + 1, self.partner[opening]) if self.inner[k] == opening and self.at(k) == text]

    def in_head_of_loop(self, k: int) -> bool:
        return self.at(self.inner[k]) == "(" and self.at(self.inner[k] - 1) == "for"

    def of_declaration(self, opening: int) -> bool:
        """Is this [ the size of an array that is declared?"""
        while self.at(opening - 1) == "]":
            opening = self.partner[opening - 1]
        before = self.at(opening - 2)
        if self.at(opening - 1) == ")":
            return self.at(self.partner[opening - 1] + 1) == "&"
        typed = self.tokens[opening - 2].sort == "name" and before not in {"return", "else", "case"}
        return typed or (before == ">" and not self.space_before(opening - 2))

    def after_callee(self, k: int) -> int:
        """The token behind a name with its namespaces and template brackets."""
        while self.tokens[k].sort == "name" or self.at(k) == "::":
            k += 1
            if self.at(k) == "<" and k in self.partner:
                k = self.partner[k] + 1
            if self.at(k) != "::" and self.at(k - 1) != "::":
                break
        return k

    def statement_end(self, k: int) -> int | None:
        """The ; of the plain call or assignment that begins here."""
        before = self.at(k - 1)
        after_head = before == ")" and self.at(self.partner[k - 1] - 1) in _HEADS | {"constexpr"}
        begins = before in {";", "{", "}", "else"} or after_head
        if not begins or self.at(self.inner[k]) != "{" or self.at(k) in _NO_STATEMENT:
            return None
        if self.at(k) not in {"++", "--"}:
            if self.tokens[k].sort != "name":
                return None
            if self.at(self.after_callee(k)) not in _ASSIGNS | {"(", "[", ".", "->"}:
                return None
        while self.at(k) not in {";", "}"}:
            if self.at(k) == "{" and self.at(k - 1) == ")":  # a macro like a loop
                return None
            k = self.partner[k] + 1 if k in self.partner else k + 1
        return k if self.at(k) == ";" else None

    def start_of_condition(self, question: int) -> int:
        """The first token of what stands before a ?."""
        k = question
        while not (
            self.inner[k - 1] == self.inner[question] and self.at(k - 1) in _ASSIGNS | {",", ";", ":", "?", "return"}
        ):
            k -= 1
            if k == self.inner[question] + 1:
                break
        return k


def _number(text: str) -> str:
    """Another one."""
    if text.lower().startswith("0x"):
        return re.sub(r"0[xX][0-9a-fA-F]+", lambda m: hex(int(m[0], 16) + 1), text)
    return re.sub(r"\d+", lambda m: str(int(m[0]) + 1), text, count=1)


def _changes_at(file: _File, k: int) -> Iterator[tuple[str, int, int, str]]:
    """Kind, first and last token, and what to put in their place."""
    token, at = file.tokens[k], file.at
    if token.text in _OTHERS and file._spaced(k):
        kind = "bound" if file.in_head_of_loop(k) and token.text in COMPARISONS else "operator"
        yield kind, k, k, _OTHERS[token.text]
    if token.sort == "number":
        bracket = file.inner[k]
        size = at(bracket) == "[" and file.of_declaration(bracket)
        index = at(k - 1) == "[" and at(k + 1) == "]"
        if not size and not index:
            yield "bound" if file.in_head_of_loop(k) else "constant", k, k, _number(token.text)
    index = token.text == "[" and (at(k - 1) in {")", "]"} or file.tokens[k - 1].sort == "name")
    if index and at(k + 1) != "[" and not file.of_declaration(k):
        last = file.partner[k] - 1
        if not any(file.top(k, mark) for mark in "?=&|,"):
            number = last == k + 1 and file.tokens[last].sort == "number"
            yield "bound", last, last, _number(at(last)) if number else f"{at(last)} + 1"
    end = file.statement_end(k)
    if end is not None and file.source(k, end).count("\n") < MOST_LINES:
        yield "dropped", k, end, "{}"
    if token.text in {"if", "while"} and at(k + 1) == "(":
        opening, closing = k + 1, file.partner[k + 1]
        if not file.top(opening, "=") and not file.top(opening, ";"):
            yield "negated", opening, closing, f"(!{file.source(opening, closing)})"
    if token.text == "?":
        first = file.start_of_condition(k)
        yield "negated", first, k - 1, f"!({file.source(first, k - 1)})"
    callee = token.sort == "name" and token.text not in _NO_STATEMENT
    opening = file.after_callee(k) if callee and at(k - 1) != "::" else k
    if callee and at(opening) == "(" and "{" not in file.source(opening, file.partner[opening]):
        commas = [opening, *file.top(opening, ","), file.partner[opening]]
        arguments = [file.source(a + 1, b - 1) for a, b in pairwise(commas)]
        name = at(opening - 1) if at(opening - 1) != ">" else at(file.partner[opening - 1] - 1)
        for n in swappable(name, arguments):
            between = file.text[file.tokens[commas[n + 1]].start : file.tokens[commas[n + 1] + 1].start]
            yield "swapped", commas[n] + 1, commas[n + 2] - 1, arguments[n + 1] + between + arguments[n]


def changes(text: str) -> list[Change]:
    """Every change to the functions of a file."""
    file, found = _File(text), []
    for name, opening, closing in file.functions():
        for k in range(opening + 1, closing):
            if file.hidden[k]:
                continue
            for kind, first, last, replacement in _changes_at(file, k):
                start, end = file.tokens[first].start, file.tokens[last].end
                found.append(Change(kind, start, end, replacement, name, file.tokens[opening].start))
    return found
