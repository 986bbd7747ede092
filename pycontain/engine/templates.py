"""Go templates, as far as ``--format`` of listings needs them: ``{{.Names}}``, ``{{json .State}}``, ``{{range …}}``.

What is understood: fields (``.A.B``), ``.``, ``$``, ``$variables``, texts, numbers, true, false, nil; parentheses and
pipes; the functions in FUNCTIONS; ``if``/``else if``/``else``, ``range``/``else`` with one or two variables, ``with``,
``end``, assignments, comments, and ``{{-``/``-}}``. Anything else is an error that names it.

Values are what JSON has: dicts stand for structs and maps, a missing key is an error as a missing field of a struct is.
Source: text/template of Go; docker's formatting page for join, lower, split, title, upper, println and table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pycontain.engine.suggest import closest
from pycontain.engine.templatewords import CONSTANTS, FUNCTIONS, go_text, truth
from pycontain.errors import UsageError

Scope = dict[str, Any]
Node = Callable[[Any, Scope], str]
Expression = Callable[[Any, Scope], Any]

_SPACE = " \t\n\r"
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_HINT = "for example {{.Names}}, {{json .}} or {{range .Mounts}}{{.Source}} {{end}}"


class Template:
    """A parsed template. ``option`` names it in errors."""

    def __init__(self, text: str, *, option: str = "--format") -> None:
        """Parse.

        Raises:
            UsageError: the text is not a template, or uses what is not understood here.
        """
        self._option = option
        try:
            self._nodes = _Parser(_split(text)).nodes_until(())[0]
        except _Wrong as wrong:
            raise UsageError(f"{option}: {wrong}", hint=_HINT) from None

    def render(self, value: Any) -> str:
        """Return the template filled in with ``value``.

        Raises:
            UsageError: a field does not exist, or a function cannot work on its argument.
        """
        try:
            return _run(self._nodes, value, {"$": value})
        except _Wrong as wrong:
            raise UsageError(f"{self._option}: {wrong}", hint=_HINT) from None


class _Wrong(Exception):
    """What is wrong with a template; becomes a UsageError."""


# Texts and actions


def _split(text: str) -> list[tuple[str, str]]:
    """Return ("text", …) and ("action", …) in order, with the space around ``{{-`` and ``-}}`` taken off."""
    parts: list[tuple[str, str]] = []
    trim = False
    while text:
        before, opened, rest = text.partition("{{")
        if trim:
            before = before.lstrip(_SPACE)
        if opened and rest.startswith("-") and rest[1:2] in _SPACE and rest[1:2]:
            before, rest = before.rstrip(_SPACE), rest[1:]
        if before:
            parts.append(("text", before))
        if not opened:
            break
        action, text = _action(rest)
        trim = action.endswith("-") and action[-2:-1] in _SPACE and len(action) > 1
        action = (action[:-1] if trim else action).strip(_SPACE)
        if not action.startswith("/*"):
            parts.append(("action", action))
        elif not action.endswith("*/"):
            raise _Wrong("a comment without end")
    return parts


def _action(rest: str) -> tuple[str, str]:
    """Return an action up to its ``}}`` and what follows; quotes may hold braces."""
    quote = ""
    index = 0
    while index < len(rest):
        char = rest[index]
        if quote:
            if char == "\\" and quote == '"':
                index += 1
            elif char == quote:
                quote = ""
        elif char in "\"`'":
            quote = char
        elif rest.startswith("}}", index):
            return rest[:index], rest[index + 2 :]
        index += 1
    raise _Wrong("{{ without }}")


def _tokens(action: str) -> list[str]:
    """Return the words of an action; a quoted text keeps its quote as first character, its inside is decoded."""
    tokens: list[str] = []
    index = 0
    while index < len(action):
        char = action[index]
        if char in _SPACE:
            index += 1
        elif char in '"`':
            text, index = _quoted(action, index)
            tokens.append('"' + text)
        elif action.startswith(":=", index):
            tokens.append(":=")
            index += 2
        elif char in "()|,=":
            tokens.append(char)
            index += 1
        elif char in _WORD or char in ".$-+":
            end = index + 1
            while end < len(action) and (action[end] in _WORD or action[end] == "."):
                end += 1
            # .A.B after ) or a space is a word of its own, which the parser tells apart by its first character
            tokens.append(action[index:end])
            index = end
        else:
            raise _Wrong(f"{char!r} in {{{{{action}}}}} is not understood")
    return tokens


def _quoted(action: str, start: int) -> tuple[str, int]:
    quote = action[start]
    index = start + 1
    out = []
    while index < len(action) and action[index] != quote:
        if action[index] == "\\" and quote == '"':
            index += 1
            escape = action[index : index + 1]
            plain = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}.get(escape)
            if plain is None:
                raise _Wrong(f"\\{escape} in a text is not understood")
            out.append(plain)
        else:
            out.append(action[index])
        index += 1
    return "".join(out), index + 1


# Statements


class _Parser:
    """Turns parts into nodes: functions of the current value and the variables, each returning text."""

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self._parts = parts
        self._next = 0

    def nodes_until(self, ends: tuple[str, ...]) -> tuple[list[Node], list[str]]:
        """Return the nodes before one of the words in ``ends``, and that action's tokens."""
        nodes: list[Node] = []
        while self._next < len(self._parts):
            kind, text = self._parts[self._next]
            self._next += 1
            if kind == "text":
                nodes.append(_text(text))
                continue
            tokens = _tokens(text)
            if not tokens:
                raise _Wrong("{{}} is empty")
            if tokens[0] in ends:
                return nodes, tokens
            nodes.append(self._statement(tokens))
        if ends:
            raise _Wrong("{{end}} is missing")
        return nodes, []

    def _statement(self, tokens: list[str]) -> Node:
        word = tokens[0]
        if word in ("if", "with"):
            return self._branch(word, tokens[1:])
        if word == "range":
            return self._range(tokens[1:])
        if word in ("end", "else"):
            raise _Wrong(f"{{{{{word}}}}} without if, range or with")
        if word in ("define", "template", "block", "break", "continue"):
            raise _Wrong(f"{{{{{word}}}}} is not understood here")
        if word.startswith("$") and tokens[1:2] in ([":="], ["="]):
            return _assignment(word, _Words(tokens[2:]).whole())
        return _output(_Words(tokens).whole())

    def _branch(self, word: str, tokens: list[str]) -> Node:
        condition = _Words(tokens).whole()
        yes, end = self.nodes_until(("else", "end"))
        no: list[Node] = []
        if end[:2] == ["else", "if"]:
            no = [self._branch("if", end[2:])]
        elif end[0] == "else":
            no = self._last(end)
        return _conditional(condition, yes, no, narrow=word == "with")

    def _range(self, tokens: list[str]) -> Node:
        names: list[str] = []
        if ":=" in tokens:
            at = tokens.index(":=")
            names, tokens = [name for name in tokens[:at] if name.startswith("$")], tokens[at + 1 :]
            if not 1 <= len(names) <= 2:
                raise _Wrong("range takes one or two variables: {{range $index, $value := .List}}")
        items = _Words(tokens).whole()
        body, end = self.nodes_until(("else", "end"))
        return _loop(names, items, body, self._last(end) if end[0] == "else" else [])

    def _last(self, tokens: list[str]) -> list[Node]:
        if len(tokens) > 1:
            raise _Wrong(f"{{{{{' '.join(tokens)}}}}} is not understood")
        nodes, end = self.nodes_until(("end", "else"))
        if end[0] == "else":
            raise _Wrong("a second {{else}}")
        return nodes


def _text(text: str) -> Node:
    return lambda _value, _scope: text


def _output(expression: Expression) -> Node:
    return lambda value, scope: go_text(expression(value, scope))


def _assignment(name: str, expression: Expression) -> Node:
    def node(value: Any, scope: Scope) -> str:
        scope[name] = expression(value, scope)
        return ""

    return node


def _conditional(condition: Expression, yes: list[Node], no: list[Node], *, narrow: bool) -> Node:
    def node(value: Any, scope: Scope) -> str:
        found = condition(value, scope)
        if truth(found):
            return _run(yes, found if narrow else value, scope)
        return _run(no, value, scope)

    return node


def _loop(names: list[str], items: Expression, body: list[Node], otherwise: list[Node]) -> Node:
    def node(value: Any, scope: Scope) -> str:
        found = items(value, scope)
        if isinstance(found, dict):
            pairs: Iterable[tuple[Any, Any]] = sorted(found.items())
        elif isinstance(found, (list, tuple)):
            pairs = enumerate(found)
        elif found is None:
            pairs = ()
        else:
            raise _Wrong(f"range over {go_text(found)!r}: neither a list nor a map")
        out = []
        for key, item in pairs:
            inner = dict(scope)
            if names:
                inner[names[-1]] = item
                if len(names) == 2:
                    inner[names[0]] = key
            out.append(_run(body, item, inner))
        return "".join(out) if out else _run(otherwise, value, scope)

    return node


def _run(nodes: list[Node], value: Any, scope: Scope) -> str:
    return "".join(node(value, scope) for node in nodes)


# Expressions


class _Words:
    """Parses the words of one action into an expression."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    def whole(self) -> Expression:
        """Return the expression that all the words are."""
        expression = self._pipe()
        if self._next < len(self._tokens):
            raise _Wrong(f"{self._tokens[self._next].lstrip(chr(34))!r} is not expected there")
        return expression

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _pipe(self) -> Expression:
        expression = self._command(None)
        while self._peek() == "|":
            self._next += 1
            expression = self._command(expression)
        return expression

    def _command(self, piped: Expression | None) -> Expression:
        """Return a function with its arguments, the piped value last, or a single operand."""
        name = self._peek()
        if name in FUNCTIONS:
            self._next += 1
            arguments = self._arguments()
            return _call(name, [*arguments, piped] if piped is not None else arguments)
        operand = self._operand()
        if piped is not None or self._peek() not in ("", "|", ")"):
            raise _Wrong(f"{name.lstrip(chr(34))!r} is not a function; there are {', '.join(sorted(FUNCTIONS))}")
        return operand

    def _arguments(self) -> list[Expression]:
        arguments = []
        while self._peek() not in ("", "|", ")"):
            arguments.append(self._operand())
        return arguments

    def _operand(self) -> Expression:
        word = self._peek()
        self._next += 1
        if word == "(":
            inner = self._pipe()
            if self._peek() != ")":
                raise _Wrong("( without )")
            self._next += 1
            if self._peek().startswith(".") and len(self._peek()) > 1:
                self._next += 1
                return _fields(inner, self._tokens[self._next - 1])
            return inner
        return _atom(word)


def _atom(word: str) -> Expression:
    if word.startswith('"'):
        return _constant(word[1:])
    if word.startswith("."):
        return _fields(lambda value, _scope: value, word)
    if word.startswith("$"):
        name, dot, path = word.partition(".")
        return _fields(_variable(name), dot + path)
    if word in CONSTANTS:
        return _constant(CONSTANTS[word])
    if word in FUNCTIONS:
        return _call(word, [])
    try:
        return _constant(float(word) if "." in word else int(word))
    except ValueError:
        guess = closest(word, FUNCTIONS)
        raise _Wrong(f"{word or 'nothing'!r} is not understood{f'; {guess}?' if guess else ''}") from None


def _constant(constant: Any) -> Expression:
    return lambda _value, _scope: constant


def _variable(name: str) -> Expression:
    def expression(_value: Any, scope: Scope) -> Any:
        if name not in scope:
            raise _Wrong(f"variable {name} has no value")
        return scope[name]

    return expression


def _fields(inner: Expression, path: str) -> Expression:
    names = [name for name in path.split(".") if name]

    def expression(value: Any, scope: Scope) -> Any:
        found = inner(value, scope)
        for name in names:
            if not isinstance(found, dict):
                raise _Wrong(f".{name} of {go_text(found)!r}: it has no fields")
            if name not in found:
                guess = closest(name, found)
                raise _Wrong(f"there is no field .{name}{f'; did you mean .{guess}?' if guess else ''}")
            found = found[name]
        return found

    return expression


def _call(name: str, arguments: list[Expression]) -> Expression:
    function, least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise _Wrong(f"{name} takes {least if least == most else f'at least {least}'} arguments, not {len(arguments)}")

    def expression(value: Any, scope: Scope) -> Any:
        if name in ("and", "or"):
            return _short_circuit(name, arguments, value, scope)
        try:
            return function(*(argument(value, scope) for argument in arguments))
        except (TypeError, ValueError, AttributeError, IndexError, KeyError):
            shown = " ".join(go_text(argument(value, scope)) for argument in arguments)
            raise _Wrong(f"{name} cannot work on {shown!r}") from None

    return expression


def _short_circuit(name: str, arguments: list[Expression], value: Any, scope: Scope) -> Any:
    found = None
    for argument in arguments:
        found = argument(value, scope)
        if truth(found) == (name == "or"):
            break
    return found
