"""Reads YAML for study files: the core schema of YAML 1.2, with unique keys and limits.

`1e-4` is a number. `yes`, `on` and `010` are not converted to booleans or octal numbers, and a date stays text. Size,
depth and the expansion of aliases are limited, so that no file blocks the reader.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from service.client.errors import invalid_study

MAX_BYTES = 1 << 17
"""The largest size of a document. The largest example of this project has 2 KiB."""

_MAX_NODES = 5_000
"""The largest number of keys and values of a document, with aliases expanded."""

_MAX_DEPTH = 50


class Dumper(yaml.SafeDumper):
    """A dumper that quotes texts which the loader below would read as other types."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the core schema of YAML 1.2, unique keys and limits."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._num_nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and check the document's limits.

        Raises:
            MarkedYAMLError: the document is too deep or too large for a study, or an alias contains itself.
        """
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise _mistake("an alias refers to a value that contains it; write the value out", event)
            self._count(self._sizes[id(node)], event)
            return node
        before = self._num_nodes
        self._count(1, event)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _mistake(f"is nested more than {_MAX_DEPTH} levels deep, too deep for a study", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._num_nodes - before
        return node

    def _count(self, num: int, event: yaml.Event) -> None:
        self._num_nodes += num
        if self._num_nodes > _MAX_NODES:
            raise _mistake(f"holds more than {_MAX_NODES:,} values, aliases included, too many for a study", event)


_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT = re.compile(r"[-+]?[0-9]+")

_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"({_INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"({_FLOAT.pattern})$"), list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # YAML 1.1 would read 010 as eight


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    written: set[Any] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in written:
            raise yaml.constructor.ConstructorError(
                None, None, f"{_cut(key.value)!r} is written twice; keep one of them", key.start_mark
            )
        written.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)

Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read(text: str, source: str) -> Any:
    """Parse a YAML document.

    Args:
        text: the document.
        source: name of the source, with which the error begins.

    Raises:
        InvalidStudy: the text is not YAML, or exceeds the limits of a study file.
    """
    if (size := len(text.encode(errors="surrogatepass"))) > MAX_BYTES:
        raise invalid_study(source, f"has {size:,} bytes; a study file has at most {MAX_BYTES:,}")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise invalid_study(
            source, f"line {line}: the character U+{_code(error):04X} is not allowed in YAML; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_of = f"line {mark.line + 1}: " if mark else ""
        raise invalid_study(source, f"{line_of}{_problem(error)}") from None
    except yaml.YAMLError:
        raise invalid_study(source, "is not YAML") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # PyYAML's constructors raise these for a tag that doesn't fit its value, or for a number of 5,000 digits.
        raise invalid_study(
            source, "holds a value that can't be read; write it plainly, without a tag such as !!int"
        ) from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    if problem == "but found another document":
        return "a second document begins; keep one, without `---` between"
    if "'\\t'" in problem:
        return "a tab stands where only spaces may; indent with spaces"
    return " ".join(_cut(problem, 200).split())


def _code(error: yaml.reader.ReaderError) -> int:
    return error.character if isinstance(error.character, int) else ord(error.character)


def _mistake(message: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, message, event.start_mark)  # type: ignore[arg-type]


def _cut(text: str, length: int = 40) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
