"""Request headers as pairs of name and raw value, in order of arrival; names in any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Optional, Union

Value = Union[str, bytes]
Pairs = tuple[tuple[str, bytes], ...]


def to_pairs(headers: Iterable[tuple[Union[str, bytes], Value]]) -> Pairs:
    """Text is what servers make of bytes: Latin-1."""
    return tuple((_text(name).lower(), _bytes(value)) for name, value in headers)


def values(pairs: Pairs, name: str) -> list[bytes]:
    return [value for key, value in pairs if key == name]


def first(pairs: Pairs, name: str) -> Optional[str]:
    """The first value of a header, when it is text and not blank; for hints only."""
    found = values(pairs, name)
    if not found:
        return None
    try:
        return found[0].decode("utf-8").strip() or None
    except UnicodeDecodeError:
        return None


class HeaderView(Mapping[str, str]):
    """For callbacks of users: looked up whatever the case, the first value of each name."""

    def __init__(self, pairs: Pairs) -> None:
        self._first: dict[str, str] = {}
        for name, value in pairs:
            self._first.setdefault(name, value.decode("latin-1"))

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"HeaderView({', '.join(self._first)})"


def _text(name: Union[str, bytes]) -> str:
    return name if isinstance(name, str) else name.decode("latin-1")


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8")
