"""Write deliveries from known quarters, and compare the hours that come out."""
import random
import subprocess
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo, available_timezones

QUARTER = timedelta(minutes=15)
HEAD = "meter,hour,kwh,quarters"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def meterflow(*args):
    """Run the program; it has to end well."""
    command = ["/usr/bin/python3", "-m", "meterflow", "hours", *map(str, args)]
    try:
        done = subprocess.run(command, cwd="/app", capture_output=True, timeout=240)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"meterflow did not end: {error}") from error
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]


def lines(path):
    assert path.is_file(), f"{path.name} was not written"
    return path.read_bytes().decode("utf-8", errors="replace").split("\n")


def quarters(random_numbers, meter, begin, end):
    """Return {(meter, start): Wh} of each quarter from begin to before end."""
    count = (end - begin) // QUARTER
    return {(meter, begin + i * QUARTER): random_numbers.randrange(3000) for i in range(count)}


def local_day(zone, text, days=1):
    """Return the beginning and the end of whole local days, in UTC."""
    first = datetime.fromisoformat(text)
    ends = [first.replace(tzinfo=ZoneInfo(zone)),
            (first + timedelta(days=days)).replace(tzinfo=ZoneInfo(zone))]
    return [time.astimezone(timezone.utc) for time in ends]


def changes(year):
    """Return {zone: (clock first, (when, clock before, clock after)...)} of all zones."""
    begin = datetime(year, 1, 1, tzinfo=timezone.utc)
    found = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        clocks = [(begin + timedelta(days=i)).astimezone(zone).utcoffset() for i in range(366)]
        at = []
        for i in range(365):
            when = begin + timedelta(days=i)
            while clocks[i] != clocks[i + 1] and when.astimezone(zone).utcoffset() == clocks[i]:
                when += QUARTER
            if clocks[i] != clocks[i + 1]:
                at.append((when, clocks[i], clocks[i + 1]))
        found[name] = (clocks[0], *at)
    return found


def hours(known):
    """Return the lines that are right for these quarters."""
    parts = {}
    for (meter, start), wh in known.items():
        parts.setdefault((meter, start.replace(minute=0)), []).append(wh)
    rows = []
    for (meter, hour), whs in sorted(parts.items()):
        kwh, wh = divmod(round(sum(whs)), 1000)   # no test asks for half a Wh
        rows.append(f"{meter},{hour:%Y-%m-%dT%H:%MZ},{kwh}.{wh:03},{len(whs)}")
    return [HEAD, *rows, ""]


def north_rows(zone, known):
    by_time = sorted(known.items(), key=lambda item: (item[0][1], item[0][0]))
    rows = []
    for (meter, start), wh in by_time:
        part = f"{wh % 1000:03}".rstrip("0") or "0"
        rows.append(f"{meter};{start.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M};{wh // 1000},{part}")
    return rows


def north(path, zone, created, rows):
    head = ["# supplier: north", f"# created: {created}", f"# zone: {zone}", "meter;start;kWh"]
    path.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return path


def south(path, digits, created, rows):
    head = ["# supplier: south", f"# created: {created}", f"# digits: {digits}",
            "meter|time|register"]
    path.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return path


def test_both_clock_changes(tmp_path):
    numbers = random.Random(11)
    known, paths, seen = {}, [], set()
    for zone, (first, *at) in changes(2014).items():   # all of a year in one delivery
        near = timedelta(hours=30 if (first, *at) not in seen else 1.5)
        seen.add((first, *at))
        rows = []
        for when, before, after in at or [(utc("2014-06-01"), timedelta(0), timedelta(0))]:
            wall = (when + before).replace(tzinfo=None)   # where clocks go on, there is none
            day = (when + (before if after < before else after)).replace(tzinfo=None)
            day -= timedelta(seconds=after < before)
            begin, end = local_day(zone, f"{day:%Y-%m-%d}")
            part = {}
            for i in range(2):
                part |= quarters(numbers, f"N-{len(paths)}-{i}", max(begin, when - near),
                                 min(end, when + near))
            far = [key for key in sorted(part) if abs(key[1] - when) > timedelta(hours=4)]
            for key in numbers.sample(far, len(far) // 9):   # gaps at no change of the clock
                del part[key]
            rows += north_rows(zone, {key: wh for key, wh in part.items() if key[1] < when})
            rows += [f"X-{len(paths)};{wall:%Y-%m-%d %H:%M};1,5"] * (after > before)
            rows += north_rows(zone, {key: wh for key, wh in part.items() if key[1] >= when})
            known |= part
        paths.append(north(tmp_path / f"{len(paths)}.csv", zone, "2024-05-01T00:00:00Z", rows))
    assert len(paths) > 30, "the tz database is not there"
    begin, end = local_day("Europe/Paris", "2021-10-31")
    late = quarters(numbers, "P-late", begin, end) | quarters(numbers, "P-gap", begin, end)
    del late["P-late", utc("2021-10-31T00:45")]   # the first 02:45, so the passes differ in length
    for minute in [15, 30, 45]:   # after the first 02:00 comes the second
        del late["P-gap", utc(f"2021-10-31T00:{minute}")]
    paths.append(north(tmp_path / "p.csv", "Europe/Paris", "2024-05-01T00:00:00Z",
                       north_rows("Europe/Paris", late)))
    known |= late
    meterflow("--out", tmp_path / "out.csv", *paths)
    assert lines(tmp_path / "out.csv") == hours(known)


def test_registers_become_quarters(tmp_path):
    numbers = random.Random(12)
    known, rows = {}, []
    begin = utc("2024-02-28T00:00")
    for meter in ["S-1", "S-2", "S-3"]:
        register = 10**6 - numbers.randrange(100, 20000)
        part = quarters(numbers, meter, begin, begin + timedelta(days=2))
        starts = sorted(part)
        hidden = set()
        for first in range(20, 180, 40):   # seven quarters of which the ends alone are read
            used = numbers.randrange(2000)
            for key in starts[first:first + 7]:
                part[key] = used
            hidden |= {key[1] for key in starts[first + 1:first + 7]}
        for key in starts:
            if key[1] not in hidden:
                rows.append(f"{meter}|{key[1]:%Y-%m-%dT%H:%MZ}|{register % 10**6}")
            register += part[key]
        rows.append(f"{meter}|{begin + timedelta(days=2):%Y-%m-%dT%H:%MZ}|{register % 10**6}")
        known |= part
    numbers.shuffle(rows)
    large = south(tmp_path / "s.txt", 6, "2024-03-01T00:00:00Z", rows)
    small = south(tmp_path / "t.txt", 3, "2024-03-01T00:00:00Z",
                  ["T|2024-02-28T00:15Z|4", "T|2024-02-28T00:00Z|993"])
    known["T", begin] = 11
    later = south(tmp_path / "u.txt", 3, "2024-03-01T00:00:00Z",
                  ["T|2024-02-28T00:30Z|20", "T|2024-02-28T00:45Z|25",
                   "U|2024-02-28T01:00Z|990", "U|2024-02-28T02:00Z|0", "U|2024-02-28T03:00Z|7",
                   "V|2024-02-28T06:15Z|12", "V|2024-02-28T04:30Z|2",
                   "W|2024-02-28T08:30Z|950", "W|2024-02-29T11:15Z|47",
                   "Z|2024-02-28T05:00Z|7", "Z|2024-02-28T05:15Z|7", "Z|2024-02-28T06:15Z|7"])
    known["T", begin + 2 * QUARTER] = 5   # nothing is known between the two deliveries
    for meter, first, used, count in [("U", 4, 10, 4), ("U", 8, 7, 4), ("V", 18, 10, 7),
                                      ("W", 34, 97, 107), ("Z", 20, 0, 5)]:
        for place in range(first, first + count):
            known[meter, begin + place * QUARTER] = Fraction(used, count)
    meterflow("--out", tmp_path / "out.csv", large, small, later)
    assert lines(tmp_path / "out.csv") == hours(known)


def test_the_delivery_created_last_counts(tmp_path):
    numbers = random.Random(13)
    zone = "Europe/Vienna"
    begin, end = local_day(zone, "2023-06-14")
    # in the order of creation, though neither the texts nor the names sort so
    created = ["2023-06-15T09:00:00+09:00", "2023-06-15T02:30:00+02:00",
               "2023-06-14T20:45:00-04:00", "2023-06-15T01:00:00Z"]
    names = ["d/x.csv", "b.csv", "c/x.csv", "x.csv"]
    for folder in "cde":
        (tmp_path / folder).mkdir()
    known, paths = {}, []
    for i, name in enumerate(names):
        if i == 2:   # supplier south has the meter, too, and was read from the middle of an hour on
            starts = [begin + place * QUARTER for place in range(10, 21)]
            rows = [f"N-1|{start:%Y-%m-%dT%H:%MZ}|{(99990 + 60 * place) % 10**5}"
                    for place, start in enumerate(starts) if place != 4]
            paths.append(south(tmp_path / "e" / "x.csv", 5, "2023-06-15T05:35:00+05:00", rows))
            known |= {("N-1", start): 60 for start in starts[:-1]}
        part = quarters(numbers, "N-1", begin + 8 * i * QUARTER, end)
        part |= quarters(numbers, f"N-2{i}", begin, end)
        paths.append(north(tmp_path / name, zone, created[i], north_rows(zone, part)))
        known |= part
    for order in [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 0, 2, 4, 1)]:
        meterflow("--out", tmp_path / "out.csv", *[paths[i] for i in order])
        assert lines(tmp_path / "out.csv") == hours(known)


def test_bad_rows_are_rejected_alone(tmp_path):
    numbers = random.Random(14)
    zone = "Europe/Madrid"
    begin, end = local_day(zone, "2024-03-31")   # from 02:00 to 03:00 there is no such time
    known = quarters(numbers, "N-7", begin, end) | quarters(numbers, "Ñ 9", begin, end)
    rows = north_rows(zone, known)
    bad = [("N-8;2024-03-31 02:15;0,5", "time"), ("N-8;2024-03-31 01:10;0,5", "time"),
           ("N-7;2024-03-31 05:00;-0,5", "value"), ("N-7;2024-03-31 05:00", "columns"),
           ("N-7;31.03.2024 05:00;0,5", "time"), ("N-7;2024-03-31 02:45;x", "time"),
           ("N-7;2024-03-31 05:00;0.5", "value"), ("N-7;2024-03-31 05:00;1;2", "columns"),
           ("N-7;2024-3-31 05:00;0,5", "time"), ("N-7;2024-03-31 5:00;0,5", "time"),
           ("N-7;2024-03-31 05:00;0,1234", "value"), ("N-7;2024-03-31 05:00;", "value"),
           ("N-7;2024-02-30 05:00;0,5", "time"), ("# zone: Asia/Tokyo", "columns"),
           ("N-7;2024-03-31 05:00;1e1", "value"), ("N-7;2024-03-31 05:00;1_0,5", "value")]
    rejected = []
    for place, (row, reason) in zip(sorted(numbers.sample(range(80), len(bad))), bad, strict=True):
        rows.insert(place, row)
        rejected.append(f"Zähler.txt,{5 + place},{reason}")
    for folder in ["in", "on"]:   # the same name twice
        (tmp_path / folder).mkdir()
    first = north(tmp_path / "in" / "Zähler.txt", zone, "2024-04-01T04:00:00Z", rows)
    second = south(tmp_path / "on" / "Zähler.txt", 5, "2024-04-01T03:00:00Z", [
        "S|2024-03-31T00:00Z|100", "S|2024-03-31T00:15Z|100000", "S|2024-03-31T00:15Z|12a",
        "S|2024-03-31T00:20Z|150", "S|2024-03-31T00:30Z|300", "S|2024-03-31T00:15Z|+150",
        "S|2024-03-31T0:15Z|150", "S|2024-03-31T00:15:00Z|150", "S|2024-03-31 00:15|150", "",
        "S|2024-03-31T00:15Z|", "S|2024-02-30T00:15Z|x", "S|2024-03-31T24:00Z|400",
        "S;2024-03-31T00:15Z;150", "#S|2024-03-31T00:15Z|1.5",
        "S|2024-03-31T00:15Z|15²", "S|2024-03-31T00:15Z|1_50", "S|2024-03-31T00:15Z|000150"])
    known |= {("S", utc("2024-03-31T00:00")): 100, ("S", utc("2024-03-31T00:15")): 100}
    rejected += [f"Zähler.txt,{line},{reason}" for line, reason in [
        (6, "value"), (7, "value"), (8, "time"), (10, "value"), (11, "time"), (12, "time"),
        (13, "time"), (15, "value"), (16, "time"), (17, "time"), (18, "columns"),
        *((line, "value") for line in range(19, 23))]]
    third = south(tmp_path / "none.txt", 5, "2024-04-01T03:00:00Z", [])
    paths = [first, third, second]
    meterflow("--out", tmp_path / "out.csv", "--rejects", tmp_path / "rejects.csv", *paths)
    assert lines(tmp_path / "out.csv") == hours(known)
    assert lines(tmp_path / "rejects.csv") == ["file,line,reason", *rejected, ""]
    meterflow("--out", tmp_path / "alone.csv", *paths)
    assert lines(tmp_path / "alone.csv") == hours(known)
    clean = north(tmp_path / "clean.csv", zone, "2024-04-01T04:00:00Z", north_rows(zone, {
        ("N-7", begin): 12}))
    text = clean.read_text(encoding="utf-8")   # with empty lines from the first on
    clean.write_text("\n" + text.replace("# zone", "\n# zone").replace("meter;", "\nmeter;"),
                     encoding="utf-8")
    meterflow("--out", tmp_path / "out.csv", "--rejects", tmp_path / "rejects.csv", clean)
    assert lines(tmp_path / "out.csv") == hours({("N-7", begin): 12})
    assert lines(tmp_path / "rejects.csv") == ["file,line,reason", ""]
