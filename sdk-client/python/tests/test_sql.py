"""Claims in a database, asked by several at once."""

import sqlite3
import tempfile
import threading
import unittest
from pathlib import Path

from hookplane import InvalidSetting, Recorded
from hookplane.sql import SqlStore


class Sqlite(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "claims"
        self.now = 1_000.0
        self.store = SqlStore(lambda: sqlite3.connect(file, timeout=30), clock=lambda: self.now)
        self.store.create_table()

    def test_of_many_at_once_one_gets_the_message(self):
        start = threading.Barrier(8)
        states = []

        def claim():
            start.wait()
            states.append(self.store.claim("k", 1_000, 60).state)

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(states), ["in_progress"] * 7 + ["new"])

    def test_what_is_done_is_given_again_until_its_end(self):
        claim = self.store.claim("k", 1_000, 60)
        self.store.complete(claim.token, Recorded(201, "text/plain", b"\xff\x00"))
        again = self.store.claim("k", 1_000, 60)
        self.assertEqual(again.recorded, Recorded(201, "text/plain", b"\xff\x00"))
        self.now += 61
        self.assertEqual(self.store.claim("k", 1_000, 60).state, "new")
        large = self.store.claim("large", 1_000, 60)
        self.store.complete(large.token, None)
        again = self.store.claim("large", 1_000, 60)
        self.assertEqual((again.state, again.recorded), ("done", None))

    def test_what_was_given_back_may_be_done_again(self):
        self.store.release(self.store.claim("k", 1_000, 60).token)
        self.assertEqual(self.store.claim("k", 1_000, 60).state, "new")

    def test_an_ended_lease_is_taken_over_and_the_slow_one_changes_nothing_more(self):
        slow = self.store.claim("k", 1_000, 60)
        self.assertTrue(self.store.renew(slow.token, 5_000))
        self.now += 4
        self.assertEqual(self.store.claim("k", 1_000, 60).state, "in_progress")
        self.now += 2
        fast = self.store.claim("k", 1_000, 60)
        self.assertEqual(fast.state, "new")
        self.assertFalse(self.store.renew(slow.token, 5_000))
        self.store.complete(slow.token, Recorded(500, None, b""))
        self.store.release(slow.token)
        self.assertEqual(self.store.claim("k", 1_000, 60).state, "in_progress")

    def test_what_has_ended_is_deleted_and_nothing_else(self):
        self.store.claim("ended", 1_000, 60)
        self.store.claim("working", 60_000, 60)
        self.now += 2
        self.store.prune()
        self.assertEqual(self.store.claim("working", 1_000, 60).state, "in_progress")
        found = self.store._run("SELECT count(*) FROM hookplane_claims", reads=True)
        self.assertEqual(found, (1,))

    def test_a_table_that_is_no_name_is_refused(self):
        with self.assertRaises(InvalidSetting):
            SqlStore(lambda: None, table="claims; DROP TABLE x")


if __name__ == "__main__":
    unittest.main()
