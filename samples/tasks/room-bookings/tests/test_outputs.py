"""Migrate databases of a fresh server by the runner, and look at what is in them."""
import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

PSQL = ["/usr/bin/psql", "-XqtA", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate"]
ENV = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PGHOST": "127.0.0.1", "PGUSER": "app",
       "HOME": "/tmp", "LANG": "C.UTF-8"}
ZONES = ["Europe/London", "America/Denver", "Asia/Kolkata", "Australia/Sydney"]
COLUMNS = ["booked_by", "created_at", "during", "id", "room_id", "status"]
REJECTED = {"id": "integer", "room_id": "integer", "booked_by": "text", "status": "text",
            "starts": "timestamp without time zone", "ends": "timestamp without time zone",
            "created_at": "timestamp with time zone", "reason": "text", "blocked_by": "integer",
            "guests": "text[]"}


@pytest.fixture(scope="module", autouse=True)
def server():
    subprocess.run(["/usr/local/bin/start-services"], check=True, timeout=180,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return small_files()


def run(command, text="", timeout=120, **env):
    try:
        return subprocess.run(command, input=text, text=True, capture_output=True, timeout=timeout,
                              env={**ENV, **env}, cwd="/tmp", errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"{command[0]}: {error}") from error


def sql(database, text):
    """Return what statements print; they have to succeed."""
    done = run([*PSQL, "-d", database], text)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows(database, query):
    text = sql(database, f"SELECT coalesce(json_agg(one), '[]') FROM ({query}) AS one")
    return json.loads(text)


def new_database(name):
    sql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE);')
    sql("postgres", f'CREATE DATABASE "{name}";')
    return name


def migrate(database, *args, **env):
    return run(["/app/bin/migrate", database, *args], **env)


def assert_migrated(database, *args, **env):
    done = migrate(database, *args, **env)
    assert done.returncode == 0, done.stderr


def old_database(name):
    """Return a new database that is at 2, as the runner of last week and its files have left it."""
    database = new_database(name)
    sql(database, """
        CREATE TABLE schema_migrations (number int NOT NULL, name text NOT NULL);
        INSERT INTO schema_migrations VALUES (1, '1_rooms.sql'), (2, '2_bookings.sql');
        CREATE TABLE rooms (id int PRIMARY KEY, name text UNIQUE NOT NULL, zone text NOT NULL);
        CREATE TABLE bookings (
            id int PRIMARY KEY, room_id int NOT NULL REFERENCES rooms, booked_by text NOT NULL,
            status text NOT NULL CHECK (status = ANY ('{cancelled,confirmed,tentative}'::text[])),
            starts timestamp NOT NULL, ends timestamp NOT NULL,
            created_at timestamptz DEFAULT now() NOT NULL);
        CREATE TABLE guests (booking_id int NOT NULL REFERENCES bookings, email text NOT NULL,
            PRIMARY KEY (booking_id, email));""")
    return database


def applied(database):
    return [(one["number"], one["name"]) for one in
            rows(database, "SELECT number, name FROM schema_migrations ORDER BY number")]


def utc(zone, local):
    """Return a moment as AT TIME ZONE takes it: the later one of a time repeated or skipped."""
    both = [local.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1)]
    return max(one.astimezone(timezone.utc) for one in both).strftime("%Y-%m-%d %H:%M")


class Plan:
    """Hold bookings of a database at 2, and what has to become of each."""

    def __init__(self, seed):
        self.numbers = random.Random(seed)
        self.ids = self.numbers.sample(range(100, 9999), 600)
        self.statements, self.kept, self.rejected = [], [], []
        for room, zone in enumerate(ZONES, start=1):
            self.statements.append(f"INSERT INTO rooms VALUES ({room}, 'room {room}', '{zone}');")

    def add(self, room, begin, end, rank, *, status="confirmed", reason="", blocked_by=None,
            id=None):
        """Add a booking, created as its rank says; return its id. Without a reason it is kept."""
        number = id or self.ids.pop()
        created = f"2023-01-{1 + rank // 24:02} {rank % 24:02}:00:00+00"
        self.statements.append(
            f"INSERT INTO bookings VALUES ({number}, {room}, 'user {number}', '{status}',"
            f" '{begin}', '{end}', '{created}');")
        emails = [f"{name}@n{number}.example" for name in self.numbers.sample("abcdefg", rank % 4)]
        self.statements += [f"INSERT INTO guests VALUES ({number}, '{email}');" for email in emails]
        row = {"id": number, "room_id": room, "booked_by": f"user {number}", "status": status,
               "created": created[:16], "guests": sorted(emails)}
        if reason:
            self.rejected.append({**row, "starts": str(begin)[:16], "ends": str(end)[:16],
                                  "reason": reason, "blocked_by": blocked_by})
        else:
            lower, upper = [utc(ZONES[room - 1], local) for local in (begin, end)]
            is_empty = upper <= lower
            self.kept.append({**row, "lower": None if is_empty else lower,
                              "upper": None if is_empty else upper})
        return number

    def day(self, room, day):
        """Add a day of bookings that are kept, and of others that each overlap some of these."""
        kept, at = [], day + timedelta(hours=7)
        for rank in self.numbers.sample(range(0, 300), 6):
            begin = at + timedelta(minutes=self.numbers.choice([0, 0, 15, 40]))
            at = begin + timedelta(minutes=self.numbers.randrange(30, 120))
            status = self.numbers.choice(["confirmed", "tentative"])
            kept.append((rank, begin, at, self.add(room, begin, at, rank, status=status)))
        for i in range(5):
            others = kept[i:i + self.numbers.choice([1, 2])]
            rank, _, _, blocker = min(others)
            begin = others[0][2] - timedelta(minutes=20)
            end = others[-1][1] + timedelta(minutes=10) if len(others) > 1 else others[0][2]
            self.add(room, begin, end, self.numbers.randrange(rank + 1, 400), reason="overlap",
                     blocked_by=blocker)
        self.add(room, day + timedelta(hours=5), day + timedelta(hours=23), 0, status="cancelled")
        self.add(room, at, at - timedelta(hours=1), 1, reason="empty")
        self.add(room, at, at, 2, reason="empty", status="tentative")
        self.add(room, at, at - timedelta(hours=2), 3, status="cancelled")


def sorted_out(database):
    """Return the rows that are kept, and those that are rejected, by id."""
    guests = "ARRAY(SELECT email FROM guests WHERE booking_id = bookings.id ORDER BY email)"
    created = "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS created"
    ends = ", ".join(f"to_char({end}(during) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS {end}"
                     for end in ("lower", "upper"))
    local = ", ".join(f"to_char({end}, 'YYYY-MM-DD HH24:MI') AS {end}"
                      for end in ("starts", "ends"))
    common = f"SELECT id, room_id, booked_by, status, {created}"
    kept = rows(database, f"{common}, {guests} AS guests, {ends} FROM bookings ORDER BY id")
    rejected = rows(database, f"{common}, guests, {local}, reason, blocked_by"
                              " FROM rejected_bookings ORDER BY id")
    return kept, rejected


def sqlstate(database, statement):
    """Return the error that a statement ends with, or ""."""
    done = run([*PSQL, "-d", database], statement)
    return done.stderr.strip().rpartition(" ")[2] if done.returncode else ""


def test_old_bookings_are_sorted_out():
    database = old_database("sorted_out")
    plan = Plan(3)
    for room in range(1, 5):
        for month in (1, 4, 7, 11):
            plan.day(room, datetime(2023, month, plan.numbers.randrange(5, 20)))
    day = datetime(2023, 5, 2)
    nine, ten, noon, one = (day + timedelta(hours=hour) for hour in (9, 10, 12, 13))
    first = plan.add(1, nine, ten, 5, id=71)     # created at once: the id decides
    plan.add(1, nine, noon, 5, id=72, reason="overlap", blocked_by=first)
    plan.add(1, ten, one, 5, id=73)              # overlaps what is rejected only
    plan.add(3, one, one + timedelta(hours=2), 8)    # across the first, but in another room
    first = plan.add(2, nine, nine + timedelta(days=9), 5)
    plan.add(2, noon + timedelta(days=7), one + timedelta(days=7), 6, reason="overlap",
             blocked_by=first)
    skipped, repeated = datetime(2023, 3, 26), datetime(2023, 10, 29)   # from 1 to 2 in London
    half_past_one, quarter_past_two = (skipped + timedelta(minutes=m) for m in (90, 135))
    plan.add(1, half_past_one, quarter_past_two, 6, reason="empty")
    plan.add(1, half_past_one, quarter_past_two, 6, status="cancelled")
    first = plan.add(1, skipped, half_past_one, 7)
    plan.add(1, skipped + timedelta(hours=2), skipped + timedelta(hours=4), 8, reason="overlap",
             blocked_by=first)
    plan.add(1, repeated, repeated + timedelta(minutes=75), 9)
    plan.add(1, repeated + timedelta(minutes=75), repeated + timedelta(minutes=150), 10)
    other_year, wide = datetime(2022, 3, 27), timedelta(minutes=45)     # skipped from 1 to 2, too
    plan.add(1, other_year + 3 * wide, other_year + 2 * wide, 11)      # 1:15 to 1:30 in UTC
    for week in range(12):      # created at once, with ids that fall as the hours of the day rise
        begin = datetime(2022, 5, 2, 8) + timedelta(days=7 * week)
        later, sooner = sorted(plan.ids.pop() for _ in range(2))
        plan.add(4, begin, begin + wide, 40, id=sooner)
        plan.add(4, begin + wide, begin + 2 * wide, 40, id=later)
        plan.add(4, begin + wide / 2, begin + wide * 3 / 2, 41 + week, reason="overlap",
                 blocked_by=later)
        begin += timedelta(days=1)
        kept, rejected = sorted(plan.ids.pop() for _ in range(2))
        plan.add(4, begin, begin + wide, 40, id=rejected, reason="overlap", blocked_by=kept)
        plan.add(4, begin + wide / 2, begin + 2 * wide, 40, id=kept)
    plan.numbers.shuffle(plan.statements)
    plan.statements.sort(key=lambda text: ["rooms", "bookings", "guests"].index(text.split()[2]))
    sql(database, "\n".join(plan.statements))
    assert_migrated(database)
    columns = rows(database, "SELECT column_name AS name, data_type FROM information_schema.columns"
                             " WHERE table_name = 'bookings' ORDER BY 1")
    assert [one["name"] for one in columns] == COLUMNS
    assert {"name": "during", "data_type": "tstzrange"} in columns
    types = rows(database, "SELECT attname AS name, format_type(atttypid, NULL) AS type"
                           " FROM pg_attribute WHERE attrelid = 'rejected_bookings'::regclass"
                           " AND attnum > 0 AND NOT attisdropped")
    assert REJECTED.items() <= {one["name"]: one["type"] for one in types}.items()
    kept, rejected = sorted_out(database)
    assert rejected == sorted(plan.rejected, key=lambda row: row["id"])
    assert kept == sorted(plan.kept, key=lambda row: row["id"])
    assert sql(database, "SELECT count(*) FROM guests WHERE booking_id NOT IN"
                         " (SELECT id FROM bookings)") == "0"
    assert sqlstate(database, "INSERT INTO guests VALUES (1, 'nobody');") == "23503"
    assert sql(database, "SELECT count(*) FROM bookings WHERE NOT isempty(during)"
                         " AND NOT (lower_inc(during) AND NOT upper_inc(during))") == "0"


def test_new_overlaps_are_refused():
    database = new_database("refused")
    assert_migrated(database)
    sql(database, "INSERT INTO rooms VALUES (1, 'a', 'Europe/London'), (2, 'b', 'Asia/Kolkata');")

    def booking(number, begin, end, status="confirmed", room=1, day="2024-06-03", last=None):
        during = f"'[{day} {begin}+00, {last or day} {end}+00)'"
        return ("INSERT INTO bookings (id, room_id, booked_by, status, during)"
                f" VALUES ({number}, {room}, 'x', '{status}', {during});")

    def book(*args, **more):
        return sqlstate(database, booking(*args, **more))

    assert book(1, "09:00", "10:30") == ""
    assert book(2, "10:30", "11:00", "tentative") == ""
    assert book(3, "10:00", "10:45") == "23P01"
    assert book(3, "10:59", "12:00") == "23P01"
    assert book(3, "10:00", "10:45", room=2) == ""
    assert book(4, "08:00", "12:00", "cancelled") == ""
    assert book(5, "11:00", "11:00") == "23514"
    assert book(6, "11:00", "11:00", "cancelled") == ""
    assert sqlstate(database, "UPDATE bookings SET status = 'tentative' WHERE id = 4;") == "23P01"
    assert sqlstate(database, "UPDATE bookings SET status = 'confirmed' WHERE id = 6;") == "23514"
    assert sqlstate(database, "UPDATE bookings SET room_id = 1 WHERE id = 3;") == "23P01"
    for begin, end, state in (("10:15", "11:00", "23P01"), ("10:45", "10:45", "23514")):
        moved = f"'[2024-06-03 {begin}+00, 2024-06-03 {end}+00)'"
        assert sqlstate(database, f"UPDATE bookings SET during = {moved} WHERE id = 2;") == state
    assert sqlstate(database, "UPDATE bookings SET during = NULL WHERE id = 3;") == "23502"
    assert sqlstate(database, "UPDATE bookings SET status = 'cancelled' WHERE id = 1;") == ""
    assert book(7, "09:30", "10:30") == ""
    assert book(17, "00:00", "00:00", room=2, day="2024-06-10", last="2024-07-20") == ""
    assert book(18, "09:00", "10:00", room=2, day="2024-07-10") == "23P01"
    assert book(19, "09:00", "10:00", room=2, day="2024-05-01", last="2024-12-24") == "23P01"
    assert sqlstate(database, "UPDATE bookings SET during = tstzrange(lower(during), NULL)"
                              " WHERE id = 17;") == ""
    assert book(20, "09:00", "10:00", room=2, day="2031-01-01") == "23P01"
    assert book(21, "17:00", "18:00", room=3) == "23503"
    assert book(22, "17:00", "18:00", "maybe") == "23514"
    assert book(7, "17:00", "18:00") == "23505"

    # two at once: the second cannot see what the first has not committed
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen([*PSQL, "-d", database], text=True, env=ENV, **pipes)
            for _ in range(2)]
    try:
        both[0].stdin.write(f"BEGIN; {booking(8, '15:00', '16:00')} SELECT 'held';\n")
        both[0].stdin.flush()
        assert both[0].stdout.readline() == "held\n"
        both[1].stdin.write(f"{booking(9, '15:30', '16:30')}\n")
        both[1].stdin.close()
        both[1].stdin = None
        assert wait_for(lambda: waiting(database) == 1 or both[1].poll() is not None, 600)
        both[0].communicate("COMMIT;\n", timeout=60)
        error = both[1].communicate(timeout=60)[1]
    finally:
        for process in both:
            process.kill()
            process.wait(timeout=60)
    assert rows(database, "SELECT id FROM bookings WHERE id IN (8, 9)") == [{"id": 8}]
    assert error.split()[-1] == "23P01"


def write_files(folder, **files):
    for name, text in files.items():
        (folder / f"{name[1:]}.sql").write_text(text)


def test_a_failing_file_leaves_nothing_behind(tmp_path):
    tmp_path /= "the team's  files"
    tmp_path.mkdir()
    folder = str(tmp_path)
    database = new_database("failing files")
    insert = "INSERT INTO steps (word) VALUES ('{}');\n"
    broken = insert.format("nine") + "INSERT INTO nowhere VALUES (1);\n" + insert.format("9")
    write_files(tmp_path, _1_steps="CREATE TABLE steps (at serial, word text);\n",
                _2_two=insert.format("two"), _10_ten=insert.format("ten"), _9_nine=broken)
    for name in ["README.md", "3b_two.sql", "3_two.sql.bak", "three_3.sql"]:
        (tmp_path / name).write_text("None of the migrations of a test.\n")
    assert_migrated(database, "--to", "2", MIGRATIONS=folder)
    assert applied(database) == [(1, "1_steps.sql"), (2, "2_two.sql")]
    for _ in range(2):
        status = migrate(database, MIGRATIONS=folder).returncode
        assert status != 0, "a file failed, the runner did not"
        assert rows(database, "SELECT word FROM steps ORDER BY at") == [{"word": "two"}]
        assert applied(database) == [(1, "1_steps.sql"), (2, "2_two.sql")]
    write_files(tmp_path, _9_nine=insert.format("mended"),
                _11_last="ALTER TABLE steps ADD more int")
    assert_migrated(database, MIGRATIONS=folder)
    assert_migrated(database, MIGRATIONS=folder)
    words = [one["word"] for one in rows(database, "SELECT word, more FROM steps ORDER BY at")]
    assert words == ["two", "mended", "ten"]
    assert applied(database)[2:] == [(9, "9_nine.sql"), (10, "10_ten.sql"), (11, "11_last.sql")]

    # the file is right, its row is refused
    write_files(tmp_path, _12_more=insert.format("twelve"))
    sql(database, "ALTER TABLE schema_migrations ADD CONSTRAINT no_12 CHECK (number <> 12);")
    assert migrate(database, MIGRATIONS=folder).returncode != 0, "a row failed, the runner did not"
    sql(database, "ALTER TABLE schema_migrations DROP CONSTRAINT no_12;")
    assert sql(database, "SELECT count(*) FROM steps WHERE word = 'twelve'") == "0"
    assert_migrated(database, MIGRATIONS=folder)
    assert sql(database, "SELECT count(*) FROM steps WHERE word = 'twelve'") == "1"
    assert applied(database)[-1] == (12, "12_more.sql")
    write_files(tmp_path, _5_late=insert.format("five"))    # of a colleague's branch
    assert_migrated(database, "--to", "2", MIGRATIONS=folder)
    assert len(applied(database)) == 6
    assert_migrated(database, MIGRATIONS=folder)
    assert applied(database)[2] == (5, "5_late.sql")
    name = "13_it's the  \"last\"_of_all.sql"
    (tmp_path / name).write_text(insert.format("thirteen"))
    assert_migrated(database, MIGRATIONS=folder)
    assert applied(database)[-1] == (13, name)
    assert sql(database, "SELECT count(*) FROM steps WHERE word = 'thirteen'") == "1"


def waiting(database):
    return int(sql(database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                             f" AND datname = '{database}'"))


def wait_for(condition, tries):
    for _ in range(tries):
        if condition():
            return True
        time.sleep(0.1)
    return False


def start_runner(database, folder, machine):
    """Start a runner as on a machine of its own: with its own copies, and folders to write to."""
    assert Path("/app/bin/migrate").is_file()
    home = Path(shutil.copytree("/app", machine, symlinks=True))
    shutil.copytree(folder, home / "a copy")
    env = {**ENV, "MIGRATIONS": str(home / "a copy"), "HOME": str(home), "TMPDIR": str(home)}
    return subprocess.Popen(
        [home / "bin/migrate", database], env=env, cwd=home,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def small_files():
    """Return what may be a lock that runners share: small files that are on this machine only."""
    found = set()
    for top in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/app"):
        for path in [*Path(top).glob("*"), *Path(top).glob("*/*")]:
            with contextlib.suppress(OSError):
                found |= {path} if path.is_file() and path.stat().st_size < 20 else set()
    return found


def test_two_runners_apply_a_file_once(tmp_path, server):
    database = new_database("runners")
    sql(database, "CREATE TABLE gate (); CREATE TABLE steps (word text);")
    folder = tmp_path / "migrations"
    folder.mkdir()
    write_files(folder, _1_slow="INSERT INTO steps VALUES ('one');\nSELECT count(*) FROM gate;\n",
                _2_next="INSERT INTO steps VALUES ('two');\n")
    runners = []
    holder = subprocess.Popen([*PSQL, "-d", database], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, env=ENV)
    try:
        holder.stdin.write("BEGIN; LOCK TABLE gate; SELECT 'held';\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        for number in range(3):
            for path in small_files() - server:
                path.unlink()
            runners.append(start_runner(database, folder, tmp_path / str(number)))
            # a runner may also wait outside the database: then this waits in vain, and goes on
            is_waiting = wait_for(lambda: waiting(database) == len(runners), 80)
            assert is_waiting or len(runners) > 1, "the first runner does not apply the first file"
        holder.communicate("COMMIT;\n", timeout=60)
        have_ended = wait_for(lambda: all(one.poll() is not None for one in runners), 600)
        assert have_ended, "a runner hangs"
    finally:
        for process in [holder, *runners]:
            process.kill()
            process.wait(timeout=60)
    words = rows(database, "SELECT word FROM steps ORDER BY word")
    assert words == [{"word": "one"}, {"word": "two"}]
    assert applied(database) == [(1, "1_slow.sql"), (2, "2_next.sql")]
    assert [one.returncode for one in runners] == [0, 0, 0]


def test_runners_start_together_on_a_new_database(tmp_path):
    database = new_database("together")
    folder = tmp_path / "migrations"
    folder.mkdir()
    write_files(folder, _1_steps="CREATE TABLE steps (word text);\n",
                _2_two="INSERT INTO steps VALUES ('two');\n")
    runners = []
    holder = subprocess.Popen([*PSQL, "-d", database], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, env=ENV)
    try:
        # until this is rolled back, nobody can create the table: all runners get as far as that
        holder.stdin.write("BEGIN; CREATE TABLE schema_migrations (number int); SELECT 'held';\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        runners = [start_runner(database, folder, tmp_path / str(k)) for k in range(3)]
        # those that wait outside the database are not seen: then this goes on after a while
        wait_for(lambda: waiting(database) == len(runners), 40)
        holder.communicate("ROLLBACK;\n", timeout=60)
        have_ended = wait_for(lambda: all(one.poll() is not None for one in runners), 600)
        assert have_ended, "a runner hangs"
    finally:
        for process in [holder, *runners]:
            process.kill()
            process.wait(timeout=60)
    assert [one.returncode for one in runners] == [0, 0, 0]
    assert rows(database, "SELECT word FROM steps") == [{"word": "two"}]
    assert applied(database) == [(1, "1_steps.sql"), (2, "2_two.sql")]
