"""The sink in PostgreSQL, against a real server."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from blocklist_sdk.enforcement.items import Operation
from blocklist_sdk.enforcement.registry import open_sink
from blocklist_sdk.enforcement.sink import Outcome, ReadableSink, SinkUnavailable, TransactionalSink
from blocklist_sdk.enforcement.sinks.postgresql import PostgresSink
from blocklist_sdk.errors import InvalidInput
from support.killed_sinks import kill_in_the_middle
from support.postgres import database_url
from support.sink_batches import FEED, FIRST, batch_of, held_of, items_of, numbered

UNTIL = 1_798_761_600_000


Opens = Callable[..., PostgresSink]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens sinks, and closes them in the end."""
    with ExitStack() as stack:

        def open_one(url: str, feed: str = FEED, **options: Any) -> PostgresSink:
            opened = open_sink(url, feed=feed, **options)
            assert isinstance(opened, PostgresSink)
            stack.callback(opened.close)
            return opened

        yield open_one


@pytest.fixture
def sink(opens: Opens, postgres_url: str) -> PostgresSink:
    return opens(postgres_url)


@pytest.fixture
def run(postgres_url: str) -> Iterator[Any]:
    """Run a statement on the sink's table, which it calls TABLE."""
    url, _, table = postgres_url.partition("?table=")
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.replace("TABLE_NAME", table).encode())


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


def test_a_block_is_a_row_with_everything_that_is_known(sink: PostgresSink, run: Any) -> None:
    items = items_of([FIRST, FIRST + 10], lasts=[FIRST, FIRST + 19], until=UNTIL, entries=[(), (4, 9)])
    assert kinds(sink.apply(batch_of(1, "block", items))) == ["enforced", "enforced"]
    rows = run(
        "SELECT feed, number, last, scope, category, entries, until, serial FROM TABLE_NAME ORDER BY 2"
    ).fetchall()
    until = datetime.fromtimestamp(UNTIL / 1000, UTC)
    assert rows == [
        (FEED, FIRST, FIRST, ["sms", "voice"], "fraud", [], until, 7),
        (FEED, FIRST + 10, FIRST + 19, ["sms", "voice"], "fraud", [4, 9], until, 7),
    ]


def test_a_change_replaces_the_row_and_an_unblock_takes_it_out(sink: PostgresSink) -> None:
    both = items_of([FIRST, FIRST + 1])
    sink.apply(batch_of(1, "block", both))
    changed = items_of([FIRST], lasts=[FIRST], scope=["messaging"])
    assert kinds(sink.apply(batch_of(2, "change", changed))) == ["enforced"]
    assert set(sink.current()) == held_of(changed) | held_of(items_of([FIRST + 1]))
    assert kinds(sink.apply(batch_of(3, "unblock", both))) == ["reversed", "reversed"]
    assert list(sink.current()) == []


def test_the_same_batch_twice_does_no_harm(sink: PostgresSink) -> None:
    items = items_of(range(FIRST, FIRST + 50))
    for _ in range(2):
        assert set(kinds(sink.apply(batch_of(1, "block", items)))) == {"enforced"}
        assert set(sink.current()) == held_of(items)
    for _ in range(2):
        assert set(kinds(sink.apply(batch_of(2, "unblock", items)))) == {"reversed"}
        assert list(sink.current()) == []


def test_feeds_and_ledgers_in_one_table_do_not_touch_each_other(
    opens: Opens, sink: PostgresSink, postgres_url: str
) -> None:
    items = items_of([FIRST])
    sink.apply(batch_of(5, "block", items))
    other = opens(postgres_url, "id-all")
    second = opens(postgres_url, feed=FEED, ledger="second")
    other.apply(batch_of(9, "unblock", items, feed="id-all"))
    assert set(sink.current()) == held_of(items)
    assert list(other.current()) == []
    assert (sink.applied(), other.applied(), second.applied()) == (5, 9, None)


def test_it_can_be_read_and_has_the_number_of_the_last_batch(sink: PostgresSink) -> None:
    assert isinstance(sink, ReadableSink)
    assert isinstance(sink, TransactionalSink)
    assert sink.applied() is None
    assert list(sink.current()) == []


def test_a_row_that_a_constraint_forbids_is_refused_and_the_rest_goes_on(sink: PostgresSink, run: Any) -> None:
    sink.applied()
    run(f"ALTER TABLE TABLE_NAME ADD CONSTRAINT not_ours CHECK (number NOT IN ({FIRST + 3}, {FIRST + 77}))")
    items = items_of(range(FIRST, FIRST + 100))
    outcomes = sink.apply(batch_of(4, "block", items))
    assert [at for at, outcome in enumerate(outcomes) if outcome.kind == "refused"] == [3, 77]
    assert "not_ours" in outcomes[3].detail
    assert str(FIRST + 3) not in outcomes[3].detail
    assert len(list(sink.current())) == 98


def test_a_row_that_a_trigger_forbids_is_refused_with_its_words_masked(sink: PostgresSink, run: Any) -> None:
    items = items_of(range(FIRST, FIRST + 20))
    sink.apply(batch_of(1, "block", items))
    run(
        "CREATE FUNCTION TABLE_NAME_keep() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN IF OLD.number = {FIRST + 5} THEN RAISE 'the court wants % kept', OLD.number; END IF; "
        "RETURN OLD; END$$"
    )
    run("CREATE TRIGGER keep BEFORE DELETE ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION TABLE_NAME_keep()")
    outcomes = sink.apply(batch_of(2, "unblock", items))
    assert [outcome.kind for outcome in outcomes].count("reversed") == 19
    assert outcomes[5] == Outcome("refused", "the court wants 6281…005 kept")
    assert {held.number for held in sink.current()} == {FIRST + 5}


def test_a_batch_that_was_refused_in_part_does_not_count_as_applied(sink: PostgresSink, run: Any) -> None:
    sink.apply(batch_of(1, "block", items_of([FIRST, FIRST + 1])))
    run(
        "CREATE FUNCTION TABLE_NAME_kept() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF OLD.number = {FIRST} THEN RETURN NULL; END IF; RETURN OLD; END$$"
    )
    run("CREATE TRIGGER kept BEFORE DELETE ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION TABLE_NAME_kept()")
    assert kinds(sink.apply(batch_of(2, "unblock", items_of([FIRST, FIRST + 1])))) == ["refused", "reversed"]
    # Who was killed before writing that down would otherwise take both for lifted.
    assert sink.applied() == 1


@pytest.mark.parametrize("lifting", [False, True])
def test_a_row_that_a_trigger_silently_leaves_out_is_refused(sink: PostgresSink, run: Any, *, lifting: bool) -> None:
    items = items_of(range(FIRST, FIRST + 20))
    sink.apply(batch_of(1, "block", items))
    row, event = ("OLD", "DELETE") if lifting else ("NEW", "INSERT OR UPDATE")
    run(
        "CREATE FUNCTION TABLE_NAME_quiet() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN IF {row}.number = {FIRST + 5} THEN RETURN NULL; END IF; RETURN {row}; END$$"
    )
    run(f"CREATE TRIGGER quiet BEFORE {event} ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION TABLE_NAME_quiet()")
    changed = items_of(range(FIRST, FIRST + 20), scope=["data"])
    outcomes = sink.apply(batch_of(2, "unblock" if lifting else "change", changed))
    assert [at for at, outcome in enumerate(outcomes) if outcome.kind == "refused"] == [5]
    assert "left it out" in outcomes[5].detail


def test_a_row_that_a_deferred_constraint_forbids_is_refused(sink: PostgresSink, run: Any) -> None:
    sink.applied()
    run("CREATE TABLE TABLE_NAME_known (number bigint PRIMARY KEY)")
    run(f"INSERT INTO TABLE_NAME_known SELECT generate_series({FIRST}, {FIRST + 8})")
    run("ALTER TABLE TABLE_NAME ADD FOREIGN KEY (number) REFERENCES TABLE_NAME_known DEFERRABLE INITIALLY DEFERRED")
    outcomes = sink.apply(batch_of(1, "block", items_of(range(FIRST, FIRST + 10))))
    assert kinds(outcomes) == ["enforced"] * 9 + ["refused"]
    assert len(list(sink.current())) == 9


def test_a_row_that_a_policy_forbids_is_refused(opens: Opens, sink: PostgresSink, run: Any, postgres_url: str) -> None:
    sink.applied()
    run("CREATE ROLE TABLE_NAME_role LOGIN")
    run("GRANT ALL ON TABLE_NAME, TABLE_NAME_cursor TO TABLE_NAME_role")
    run("ALTER TABLE TABLE_NAME ENABLE ROW LEVEL SECURITY")
    run(f"CREATE POLICY limits ON TABLE_NAME USING (true) WITH CHECK (number <> {FIRST + 1})")
    table = postgres_url.rpartition("=")[2]
    limited = opens(postgres_url.replace("postgres@", f"{table}_role@"))
    assert kinds(limited.apply(batch_of(1, "block", items_of([FIRST, FIRST + 1])))) == ["enforced", "refused"]


def test_missing_rights_make_the_sink_unavailable(
    opens: Opens, sink: PostgresSink, run: Any, postgres_url: str
) -> None:
    sink.applied()
    run("CREATE ROLE TABLE_NAME_role LOGIN")
    table = postgres_url.rpartition("=")[2]
    limited = opens(postgres_url.replace("postgres@", f"{table}_role@"))
    with pytest.raises(SinkUnavailable, match="permission denied") as caught:
        limited.apply(batch_of(1, "block", items_of([FIRST])))
    assert not caught.value.is_permitted


def test_an_account_that_the_server_does_not_know_is_a_matter_of_permission(opens: Opens, postgres_url: str) -> None:
    stranger = opens(postgres_url.replace("postgres@", "stranger:s3cret@"))
    with pytest.raises(SinkUnavailable, match="stranger") as caught:
        stranger.applied()
    assert not caught.value.is_permitted
    assert "s3cret" not in str(caught.value)


def test_a_category_that_postgresql_cannot_store_is_stored_in_part(sink: PostgresSink, run: Any) -> None:
    text = 'a\x00b"c,d\\n\n'
    assert kinds(sink.apply(batch_of(1, "block", items_of([FIRST], category=text)))) == ["enforced"]
    assert run("SELECT category FROM TABLE_NAME").fetchone() == (text.replace("\x00", "\ufffd"),)


def test_a_database_without_utf8_stores_what_it_can(opens: Opens, run: Any, postgres: str) -> None:
    run("CREATE DATABASE TABLE_NAME_latin ENCODING LATIN1 TEMPLATE template0")
    url = database_url(postgres, run("SELECT 'TABLE_NAME_latin'").fetchone()[0])
    sink = opens(url)
    assert kinds(sink.apply(batch_of(1, "block", items_of([FIRST], category="詐欺")))) == ["enforced"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT category FROM blocklist").fetchone() == ("\\u8a50\\u6b3a",)


def test_a_connection_that_is_cut_in_a_batch_leaves_neither_rows_nor_cursor(sink: PostgresSink, run: Any) -> None:
    sink.apply(batch_of(1, "block", items_of([FIRST])))
    run(
        "CREATE FUNCTION TABLE_NAME_cut() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.number = {FIRST + 50} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END$$"
    )
    run("CREATE TRIGGER cut BEFORE INSERT ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION TABLE_NAME_cut()")
    batch = batch_of(2, "block", items_of(range(FIRST, FIRST + 100)))
    with pytest.raises(SinkUnavailable, match="terminat"):
        sink.apply(batch)
    assert sink.applied() == 1
    assert set(sink.current()) == held_of(items_of([FIRST]))
    run("DROP TRIGGER cut ON TABLE_NAME")
    assert set(kinds(sink.apply(batch))) == {"enforced"}
    assert sink.applied() == 2


def test_a_connection_that_was_cut_while_idle_is_made_anew(sink: PostgresSink, run: Any) -> None:
    sink.apply(numbered(1))
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'blocklist-sdk'")
    sink.apply(numbered(2))
    assert sink.applied() == 2


def test_many_refused_rows_are_found_one_by_one(sink: PostgresSink, run: Any) -> None:
    sink.applied()
    run("ALTER TABLE TABLE_NAME ADD CONSTRAINT even CHECK (number % 2 = 0)")
    outcomes = sink.apply(batch_of(1, "block", items_of(range(FIRST, FIRST + 600))))
    assert kinds(outcomes) == ["enforced", "refused"] * 300
    assert {held.number for held in sink.current()} == set(range(FIRST, FIRST + 600, 2))


def test_after_a_deadlock_the_next_try_succeeds(sink: PostgresSink, run: Any) -> None:
    both = items_of([FIRST, FIRST + 1])
    sink.apply(batch_of(1, "block", both))
    run("SET deadlock_timeout = '60s'")  # so that the sink is the one that is sent away
    run("BEGIN")
    run(f"UPDATE TABLE_NAME SET serial = 1 WHERE number = {FIRST + 1}")
    failures: list[BaseException] = []

    def apply() -> None:
        try:
            sink.apply(batch_of(2, "change", both))
        except SinkUnavailable as error:
            failures.append(error)

    thread = threading.Thread(target=apply)
    thread.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
    while run(waiting).fetchone() == (0,):
        pass
    run(f"UPDATE TABLE_NAME SET serial = 1 WHERE number = {FIRST}")
    run("ROLLBACK")
    thread.join(60)
    assert "deadlock" in str(failures[0])
    assert sink.applied() == 1
    sink.apply(batch_of(2, "change", both))
    assert sink.applied() == 2


def test_a_read_only_server_makes_the_sink_unavailable(opens: Opens, sink: PostgresSink, postgres_url: str) -> None:
    sink.applied()
    readonly = opens(f"{postgres_url}&options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(SinkUnavailable, match="read-only"):
        readonly.apply(batch_of(1, "block", items_of([FIRST])))


def test_without_a_server_the_sink_is_unavailable(opens: Opens) -> None:
    absent = opens("postgresql://nobody:secret@127.0.0.1:9/none")
    for use in (lambda: absent.apply(numbered(1)), absent.applied, lambda: list(absent.current())):
        with pytest.raises(SinkUnavailable) as caught:
            use()
        assert "secret" not in str(caught.value)


def test_a_missing_table_is_only_made_if_that_is_allowed(opens: Opens, postgres_url: str) -> None:
    careful = opens(f"{postgres_url}&create=false")
    with pytest.raises(SinkUnavailable, match="make the sink's tables"):
        careful.apply(numbered(1))
    opens(postgres_url).apply(numbered(1))
    assert set(kinds(careful.apply(numbered(2)))) == {"enforced"}


def test_a_schema_that_does_not_exist_is_for_a_person_to_make(opens: Opens, run: Any, postgres: str) -> None:
    sink = opens(f"{postgres}?table=no_such_schema.blocklist")
    for use in (lambda: sink.apply(numbered(1)), sink.applied, lambda: list(sink.current())):
        with pytest.raises(InvalidInput, match=r'"no_such_schema" does not exist: create the schema.*table=no_such'):
            use()
    assert sink.is_empty()
    run("CREATE SCHEMA no_such_schema")
    assert set(kinds(sink.apply(numbered(1)))) == {"enforced"}
    run("DROP SCHEMA no_such_schema CASCADE")


def test_the_tables_and_the_query_in_the_docs_work(opens: Opens, run: Any, postgres: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "enforce-into-postgresql.md").read_text(encoding="utf-8")
    tables, question = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    run("CREATE DATABASE TABLE_NAME_documents")
    url = database_url(postgres, run("SELECT 'TABLE_NAME_documents'").fetchone()[0])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(tables.encode())
        sink = opens(f"{url}?create=false", "id-telkomsel")

        def answer() -> bool:
            return bool(connection.execute(question.encode()).fetchone() == (True,))

        def apply(operation: Operation, **what: Any) -> None:
            items = items_of([6281234567880], lasts=[what.pop("last", 6281234567899)], **what)
            assert kinds(sink.apply(batch_of(1, operation, items, feed="id-telkomsel"))) != ["refused"]

        assert not answer()
        apply("block")
        assert answer()
        for what in ({"last": 6281234567889}, {"scope": ["data"]}, {"until": 1}):
            apply("change", **what)
            assert not answer()
        apply("change", until=UNTIL * 2)
        assert answer()
        apply("unblock")
        assert not answer()


def test_a_table_may_have_a_schema_and_any_name(opens: Opens, postgres: str, run: Any) -> None:
    run("CREATE SCHEMA IF NOT EXISTS lists")
    sink = opens(f'{postgres}?table=lists.My "Table"; --')
    sink.apply(batch_of(1, "block", items_of([FIRST])))
    assert run('SELECT number FROM lists."My ""Table""; --"').fetchone() == (FIRST,)


def test_a_table_may_have_per_cent_signs(opens: Opens, postgres: str, run: Any) -> None:
    sink = opens(f"{postgres}?table=a%25s b%25%25(c)s%25")
    assert sink.is_empty()
    sink.apply(batch_of(1, "block", items_of([FIRST])))
    assert run('SELECT number FROM "a%s b%%(c)s%"').fetchone() == (FIRST,)
    assert (sink.applied(), [held.number for held in sink.current()], sink.is_empty()) == (1, [FIRST], False)
    sink.apply(batch_of(2, "unblock", items_of([FIRST])))
    assert sink.is_empty()


def test_a_name_with_a_control_character_is_refused_for_what_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"the sink's table has the control character U\+0000: leave it out"):
        open_sink("postgresql://127.0.0.1/none?table=block%00list", feed=FEED)
    for url in ("postgresql://127.0.0.1/no%00ne", "postgresql://a%0Ab@127.0.0.1/none", "file:///tmp/a%00b"):
        with pytest.raises(InvalidInput, match="control character"):
            open_sink(url, feed=FEED)
    with pytest.raises(InvalidInput, match="password has the control"):
        open_sink("postgresql://me:a%00b@127.0.0.1/none", feed=FEED)


NONSENSE = (
    "table=a.b.c",
    "table=block%00list",
    "table=block%0Alist",
    "table=",
    f"table={'t' * 57}",
    "create=perhaps",
    "table=a&table=b",
    "no_such_parameter=1",
)


@pytest.mark.parametrize("query", NONSENSE)
def test_a_url_that_makes_no_sense_is_invalid(opens: Opens, query: str) -> None:
    with pytest.raises(InvalidInput):
        opens(f"postgresql://127.0.0.1/none?{query}")


def test_a_password_in_a_wrong_url_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        open_sink("postgresql://me:sec%zzret@127.0.0.1/none", feed=FEED)
    assert "zzret" not in str(caught.value)


def test_a_process_that_is_killed_leaves_whole_batches_and_their_number(sink: PostgresSink, postgres_url: str) -> None:
    for _ in range(5):
        before = sink.applied() or 0
        kill_in_the_middle(postgres_url, before)
        after = sink.applied() or 0
        assert after > before
        expected = {FIRST + number for number in range(1000, (after + 1) * 1000)}
        assert {held.number for held in sink.current()} == expected
