"""Claims in a SQL database, shared by all processes of a service.

For SQLite and PostgreSQL through their DB-API modules; a claim is one statement. Times are those of
the machines that ask, so their clocks should agree to well below a lease.
"""

from __future__ import annotations

import base64
import itertools
import re
import secrets
import time
from contextlib import closing
from typing import Any, Callable, Optional

from .dedupe import Claim, Recorded
from .signature import InvalidSetting

_MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s"}
#: Claims between two looks for what has ended.
_PRUNE_EVERY = 500


class SqlStore:
    """`connect` gives a connection of its own for each question, which is closed after it; a pool
    fits as well. `paramstyle` is that of its module: `qmark` for sqlite3, `format` for psycopg."""

    def __init__(
        self,
        connect: Callable[[], Any],
        paramstyle: str = "qmark",
        table: str = "hookplane_claims",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if paramstyle not in _MARKS:
            raise InvalidSetting("paramstyle", f"`paramstyle` is one of {', '.join(_MARKS)}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,62}", table):
            raise InvalidSetting("table", "`table` is a name of letters, digits and _")
        self._connect = connect
        self._mark = _MARKS[paramstyle]
        self._table = table
        self._clock = clock
        self._claims = itertools.count(1)

    def schema(self) -> str:
        """For a migration; `create_table` runs it."""
        return (
            f"CREATE TABLE IF NOT EXISTS {self._table} ("
            "message TEXT PRIMARY KEY, token TEXT NOT NULL, until_ms BIGINT NOT NULL, "
            "ttl_s BIGINT NOT NULL, done INTEGER NOT NULL, "
            "status INTEGER, content_type TEXT, body TEXT)"
        )

    def create_table(self) -> None:
        self._run(self.schema())

    def claim(self, key: str, lease_ms: int, ttl_s: int) -> Claim:
        if next(self._claims) % _PRUNE_EVERY == 0:
            self.prune()
        now = self._now()
        token = secrets.token_hex(16)
        self._run(
            f"INSERT INTO {self._table} (message, token, until_ms, ttl_s, done) "
            "VALUES (?, ?, ?, ?, 0) ON CONFLICT (message) DO UPDATE SET "
            "token = excluded.token, until_ms = excluded.until_ms, ttl_s = excluded.ttl_s, "
            "done = 0, status = NULL, content_type = NULL, body = NULL "
            f"WHERE {self._table}.until_ms <= ?",
            (key, token, now + lease_ms, ttl_s, now),
        )
        found = self._run(
            "SELECT token, until_ms, done, status, content_type, body "
            f"FROM {self._table} WHERE message = ?",
            (key,),
            reads=True,
        )
        if found is None:
            # Given back just now: the sender may come again at once.
            return Claim("in_progress", retry_after_ms=1)
        if found[0] == token:
            return Claim("new", token)
        if not found[2]:
            return Claim("in_progress", retry_after_ms=max(1, found[1] - now))
        if found[3] is None:
            return Claim("done")
        body = base64.b64decode(found[5] or "")
        return Claim("done", recorded=Recorded(found[3], found[4], body))

    def renew(self, token: str, lease_ms: int) -> bool:
        self._run(
            f"UPDATE {self._table} SET until_ms = ? WHERE token = ? AND done = 0",
            (self._now() + lease_ms, token),
        )
        held = f"SELECT 1 FROM {self._table} WHERE token = ? AND done = 0"
        return self._run(held, (token,), reads=True) is not None

    def complete(self, token: str, recorded: Optional[Recorded]) -> None:
        kept = (
            (None, None, None)
            if recorded is None
            else (recorded.status, recorded.content_type, base64.b64encode(recorded.body).decode())
        )
        self._run(
            f"UPDATE {self._table} SET done = 1, until_ms = ? + ttl_s * 1000, status = ?, "
            "content_type = ?, body = ? WHERE token = ? AND done = 0",
            (self._now(), *kept, token),
        )

    def release(self, token: str) -> None:
        self._run(f"DELETE FROM {self._table} WHERE token = ? AND done = 0", (token,))

    def prune(self) -> None:
        """Deletes what has ended; done now and then by `claim`."""
        self._run(f"DELETE FROM {self._table} WHERE until_ms <= ?", (self._now(),))

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _run(self, statement: str, given: tuple[Any, ...] = (), *, reads: bool = False) -> Any:
        """The first row, when it reads."""
        with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement.replace("?", self._mark), given)
            row = cursor.fetchone() if reads else None
            connection.commit()
            return row
