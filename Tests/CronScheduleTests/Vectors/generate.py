#!/usr/bin/env python3
"""Makes the test vectors of CronSchedule, with croniter as the judge.

    pip install croniter==7.0.0
    python3 generate.py            # writes utc.json, zones.json and rejected.json next to itself

utc.json       [expression, start, [gap, ...]]        start: seconds since 1970 UTC. Each gap leads from the time before
zones.json     [expression, zone, start, [gap, ...]]  it to the next fire time; fewer than five: croniter found no more.
rejected.json  expression

The first row of each file is a comment. Everything is drawn from one seeded generator: the same versions of Python and
croniter write the same files. zones.json keeps away from changes of the offset by two days, at the start and at each
fire time, because daylight saving follows rules of our own (docs/cron.md). Random expressions (R) are left out.

`--rows N --seed S --out FOLDER` draw other and larger sets, for a longer comparison.
"""

import argparse
import datetime
import importlib.metadata
import json
import pathlib
import random
import zoneinfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError

UTC = datetime.timezone.utc
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59), (1970, 2099)]
ALIASES = "@midnight @hourly @daily @weekly @monthly @yearly @annually".split()
ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "Asia/Kathmandu",
    "Pacific/Auckland", "Europe/London", "America/St_Johns", "Pacific/Chatham", "Asia/Tokyo", "Africa/Johannesburg",
]

# What chance might miss, with all the odd corners that were found by reading croniter.
HANDWRITTEN = """
* * * * *|*/15 * * * *|0 0 29 2 fri|0 0 29 2 *|0 0 30 2 *|0 0 31 2,4,6,9,11 *|0 0 31 2 mon|0 0 l * *|0 0 L 2 *
0 0 1-30,l * *|0 0 1-14,16-31,l * *|0 0 1-14,16-31,l * mon|0 0 1-31,l * mon|0 0 1-31 * mon|0 0 1-31 * ?|0 0 */1 * mon
0 0 */2 * mon|0 0 */2 * */2|0 0 1-31 * */2|0 0 */2 * 0-6|0 0 15 * 0-6|0 0 15 * 0-7|0 0 15 * */1|0 0 *,5 * mon|0 0 5 * *,mon
0 0 ? * ?|0 0 ? * mon|0 0 13 * ?|0 0 13 * 5|0 0 * * 5#2|0 0 13 * 5#2|0 0 1 * 5#2|0 0 1,9 * 5#2,l1|0 0 l * l5|0 0 * * l5
0 0 * * L0,L7|0 0 * * sun#1,sun#5|0 0 * * fri-mon#1|0 0 * * sun-sun#3|0 0 * * mon,mon#2|0 0 * * 0-6,mon#2|0 0 15 * 0-6,mon#2
0 0 * * *,mon#2|0 0 15 * *,mon#2|0 0 * * *,0-4,5#2|0 0 15 * 1-5,6#1,0#1|0 0 ? * 5#5|0 0 29 2 5#5|0 0 * 2 1#5|0 0 */2 * 1#2
0 0 15w * *|0 0 w15 * *|0 0 1w * *|0 0 31W * *|0 0 31w 2 *|0 0 30w 2 *|0 0 15w * mon|0 0 15w * sat|0 0 15w * mon#3|0 0 1w * ?
0 0 15w * sat#3|0 0 15w * 1#3|0 0 15w * 1-5|0 0 15w * 0-6|0 0 015w * *|0 0 1w 1 *|0 0 31w 1,5 sun
5-5 * * * *|5-5/7 * * * *|59/15 * * * *|59-59/15 * * * *|50/15 * * * *|*/100 * * * *|*/99999999999999999999999 * * * *
50-10 * * * *|50-10/7 * * * *|55-5/3 * * * *|58-3/4 * * * *|0 22-3 * * *|0 22-3/2 * * *|0 23-0 * * *|0 0-0 * * *|0 0-23 * * *
0 0 25-5 * *|0 0 25-5/3 * *|0 0 28-l * *|0 0 1-l/7 * *|0 0 31-l * *|0 0 0-0 * *|0 0 5-0 * *|0 0 31/2 * *|0 0 30/2 * *
0 0 1 nov-feb *|0 0 1 apr-jan/3 *|0 0 1 apr-jan/4 *|0 0 1 dec/3 *|0 0 1 jan-jan *|0 0 1 jan-jan/5 *|0 0 1 0-0 *|0 0 1 5-0 *
0 0 1 12-12/5 *|0 0 1 feb,4,JUN-aug *|0 0 * * fri-mon|0 0 * * sat-sun|0 0 * * sat/2|0 0 * * 7/2|0 0 * * 7-3|0 0 * * 0-7
0 0 * * 7-7|0 0 * * sun-sat|0 0 * * mon-7|0 0 * * mon-7/2|0 0 * * 5-7/2|0 0 * * fri-wed/3|0 0 * * 6-5/2|0 0 * * 7|0 0 * * 0,7
0 0 15 * mon-7|0 0 15,l * *|0 0 l,15,1 * tue|00 00 01 01 00|000 012 0015 6 07|0 0 1 1 * 0|* * * * * *|* * * * * */7
0 0 * * * 30|0 0 1 1 * 0,59|*/5 * * * * 10-20/5|30 8 * * 1-5 0 2026|0 0 1 1 * 0 *|0 0 1 1 * 0 1970-2099|0 0 1 1 * 0 2000-5
0 0 1 1 * 0 5-5|0 0 1 1 * 0 5-5/7|0 0 1 1 * 0 2099/2|0 0 1 1 * 0 2030/2|0 0 1 1 * 0 2099|0 0 29 2 * 0 2023|0 0 29 2 * 0 2000/25
0 0 1 1 * 0 2040-1990/9|0 0 1 1 * 0 *,2030|0 0 1 1 * 0 1970|0 0 13 * 5 0 2020-2040|0 0 1 * 5#2 0 2030|0 0 9 * 5#2 0 2024-2026
0 0 31 12 * 0 2031,2035|* * * * * * 2031|*/2 */2 */2 */2 */2 */2 */2|@DAILY|@Hourly|@weeKly
"""

REJECTED = """
|*|* *|* * *|* * * *|* * * * * * * *|@reboot|@every 5m|@daily |  @daily|@day|@|@hourly 5|60 * * * *|* 24 * * *|* * 0 * *
* * 32 * *|* * * 0 *|* * * 13 *|* * * * 8|* * * * * 60|* * * * * 0 1969|* * * * * 0 2100|-1 * * * *|* -1 * * *|1- * * * *
*/0 * * * *|*/ * * * *|/5 * * * *|5/ * * * *|5/0 * * * *|*/-5 * * * *|*/x * * * *|*/1/2 * * * *|1/2/3 * * * *|1-5/0 * * * *
1-5/ * * * *|1-5/x * * * *|1-5-9 * * * *|1--5 * * * *|1,, * * * *|,1 * * * *|1, * * * *|, * * * *|a * * * *|mon * * * *
* jan * * *|* * mon * *|* * * mon *|* * * * jan|* * * * foo|* * * foo *|* * * january *|* * * * monday|* * * * mond
? * * * *|* ? * * *|* * * ? *|* * * * * ?|* * * * * * ?|* * ?,1 * *|* * 1? * *|* * * * ?,1|* * ?/2 * *|* * ?? * *
l * * * *|* l * * *|* * * l *|* * * * l|* * l-5 * *|* * l/2 * *|* * l-l * *|* * ll * *|* * l5 * *|* * l-1 * *|* * l-3 * *
* * * * 5l|* * * * fril|* * * * lfri|* * * * l8|* * * * l-1|* * * * l5/2|* * * * l5-6|* * * * l1-5|* * * * 5#0|* * * * 5#6
* * * * 5#|* * * * #2|* * * * 5#x|* * * * 5#-1|* * * * 8#2|* * * * *#2|* * * * ?#2|* * * * l#2|* * * * l5#2|* * * * jan#2
* * * * jan-feb#2|* * * * 1-5#2|* * * * mon-5#2|* * * * 1-fri#2|* * * * mon-fri#2/2|* * * * 5#2#3|* * * * mon-tue-wed#1
* * * * foo#2|* * * * 1,2#3|* * * * mon,tue#2|* * * * tue#2,mon|* * * * l5,1|* * * * 1-4,l5|* * * * *,tue,mon#2
* * 5#2 * *|* * * 5#2 *|5#2 * * * *|* * w * *|* * 0w * *|* * 32w * *|* * 15w,16 * *|* * 16,15w * *|* * 15w,16w * *|* * 1-5w * *
* * 15w/2 * *|* * 15w-20 * *|* * lw * *|* * wl * *|* * w15w * *|* * 15ww * *|15w * * * *|* * * * 1w|* * *w * *|* * *,15w * *
h * * * *|H * * * *|* h * * *|* * * * h|h/5 * * * *|h(0-5) * * * *|h(0-29)/10 * * * *|h(5-3) * * * *|r(5-3) * * * *|r/0 * * * *
h,5 * * * *|r(0-99) * * * *|h5 * * * *|hh * * * *|r,r * * * *|61-61 * * * *|70-5 * * * *|5-70 * * * *|0-60 * * * *|* 0-24 * * *
* 5-24 * * *|* * 0-5 * *|* * 0/5 * *|* * 0-31 * *|* * 1-32 * *|* * * 0-5 *|* * * 0/3 *|* * * 1-13 *|* * * * 0-8|* * * * 8-8
* * * * * * 0-2000|* * * * * * 1969-1971|* * * * * * 1000-5|* * * * * * 2000-2100|* * * * * * 1000-5/5000|* * * * * 0-60
*-5 * * * *|5-* * * * *|*,-1 * * * *|** * * * *|*5 * * * *|5* * * * *|1.5 * * * *|+5 * * * *|1_0 * * * *|0x5 * * * *|1e1 * * * *
٣ * * * *|１ * * * *|5\u00a0* * * *|* *\u3000* * *|*\u2003* * * *|* * * * * \u00e9|* * * mär *|* * * * ſun|(1) * * * *|[1] * * * *
1;2 * * * *|1:2 * * * *|1&2 * * * *|$ * * * *|"*" * * * *|'*' * * * *|*\\t * * * *|TZ=UTC * * * * *|0 0 * * * # comment
% * * * *|~ * * * *|0~30 * * * *|* * c * *|c c c c c c|1/-1 * * * *|--1 * * * *|- * * * *|-- * * * *|/ * * * *|// * * * *
"""


def handwritten(text):
    for line in text.strip("\n").split("\n"):
        yield from line.split("|")


class Dialect:
    """Draws expressions of the whole dialect."""

    def __init__(self, rng):
        self.rng = rng

    def value(self, field):
        rng = self.rng
        low, high = RANGES[field]
        value = rng.randint(low, high) if field < 6 else rng.randint(2015, 2060)
        if field == 3 and rng.random() < 0.4:
            return self.case(MONTHS[value - 1])
        if field == 4 and rng.random() < 0.4:
            return self.case(WEEKDAYS[value % 7])
        return f"{value:02}" if rng.random() < 0.1 else str(value)

    def case(self, name):
        return self.rng.choice([name, name, name.upper(), name.capitalize()])

    def step(self, field):
        low, high = RANGES[field]
        return self.rng.choice([1, 2, 3, 4, 5, 7, 10, 15, 20, self.rng.randint(1, high - low + 5)])

    def element(self, field):
        rng = self.rng
        draw = rng.random()
        if draw < 0.5:
            return self.value(field)
        if draw < 0.7:
            return f"{self.value(field)}-{self.value(field)}"
        if draw < 0.82:
            return f"{self.value(field)}-{self.value(field)}/{self.step(field)}"
        if draw < 0.9:
            return f"*/{self.step(field)}"
        if draw < 0.98:
            return f"{self.value(field)}/{self.step(field)}"
        return "*"

    def special(self, field):
        rng = self.rng
        if field == 2:
            day = rng.randint(1, 31)
            return rng.choice(
                ["?", "L", "l", f"{day},L", f"{day}-L", f"{day}-l/{rng.randint(1, 9)}", f"{day}W", f"w{day}", "1w", "31W"]
            )
        picks = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            day, nth = rng.randint(0, 7), rng.randint(1, 5)
            name = WEEKDAYS[day % 7]
            other = rng.choice(WEEKDAYS)
            picks.append(
                rng.choice([f"{day}#{nth}", f"{name}#{nth}", f"{self.case(name)}-{other}#{nth}", f"l{day}", f"L{day}"])
            )
        return rng.choice(["?", ",".join(picks), ",".join(picks), ",".join(picks)])

    def field(self, field, wildcard):
        rng = self.rng
        draw = rng.random()
        if draw < wildcard:
            return "*"
        if field in (2, 4) and draw < wildcard + 0.25:
            return self.special(field)
        return ",".join(self.element(field) for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3, 5])))

    def expression(self):
        rng = self.rng
        if rng.random() < 0.01:
            return self.case(rng.choice(ALIASES))
        count = rng.choice([5, 5, 5, 5, 6, 6, 7])
        wildcards = [0.25, 0.3, 0.5, 0.55, 0.5, 0.3, 0.4]
        separator = rng.choice([" "] * 12 + ["  ", "\t", " \n"])
        text = separator.join(self.field(index, wildcards[index]) for index in range(count))
        return rng.choice([text] * 20 + [" " + text, text + " ", text.upper()])

    def broken(self):
        """An expression with one character changed, inserted or left out, or a value moved out of its range."""
        rng = self.rng
        text = self.expression()
        at = rng.randrange(len(text))
        dirt = rng.choice("0123456789*/-,#?lwhLWx .+~%rjfm")
        return rng.choice(
            [text[:at] + dirt + text[at:], text[:at] + dirt + text[at + 1:], text[:at] + text[at + 1:],
             text[:at] + str(rng.randint(24, 3000)) + text[at:]]
        )


def is_random(expression):
    """A field that croniter draws anew each time."""
    return any(part.startswith("r") for part in expression.lower().split())


def accepts(expression, start=0):
    """croniter's constructor decides: `is_valid` is the same but for errors it wraps."""
    try:
        croniter(expression, start)
        return True
    except ValueError:
        return False


def gaps(expression, start, zone=None):
    """The gaps to the next five fire times; fewer where croniter finds no more."""
    times = []
    now = datetime.datetime.fromtimestamp(start, zone or UTC) if zone else start
    judge = croniter(expression, now)
    last = start
    for _ in range(5):
        try:
            fired = int(judge.get_next(float))
        except CroniterBadDateError:
            break
        times.append(fired - last)
        last = fired
    return times


def start_time(rng):
    year = rng.choice([rng.randint(1971, 2105), rng.randint(2015, 2035), rng.randint(2015, 2035)])
    moment = datetime.datetime(year, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59), tzinfo=UTC)
    moment += datetime.timedelta(days=rng.choice([0, 0, 3]), seconds=rng.choice([0, 0, 59, rng.randint(0, 59)]))
    if rng.random() < 0.15:
        moment = moment.replace(month=rng.choice([2, 12]), day=28, hour=23, minute=59) + datetime.timedelta(days=rng.randint(0, 3))
    return int(moment.timestamp())


def is_calm(zone, instant):
    """No change of the offset within two days."""
    offsets = {datetime.datetime.fromtimestamp(instant + hours * 3600, zone).utcoffset() for hours in range(-48, 49)}
    return len(offsets) == 1


def utc_rows(rng, count):
    dialect = Dialect(rng)
    rows = []
    for expression in handwritten(HANDWRITTEN):
        for start in (0, 1_700_000_000, 1_735_689_599, 4_102_444_799):
            rows.append([expression, start, gaps(expression, start)])
    while len(rows) < count:
        expression = dialect.expression() if rng.random() < 0.9 else dialect.broken()
        if is_random(expression) or not accepts(expression):
            continue
        start = start_time(rng)
        rows.append([expression, start, gaps(expression, start)])
    return rows


def zone_rows(rng, count):
    dialect = Dialect(rng)
    rows = []
    while len(rows) < count:
        expression = dialect.expression()
        if not accepts(expression):
            continue
        name = rng.choice(ZONES)
        zone = zoneinfo.ZoneInfo(name)
        start = int(datetime.datetime(rng.randint(2010, 2024), 1, 1, tzinfo=UTC).timestamp()) + rng.randrange(365 * 86400)
        if not is_calm(zone, start):
            continue
        row = [expression, name, start, gaps(expression, start, zone)]
        fired = start
        calm = True
        for gap in row[3]:
            fired += gap
            calm = calm and fired < 2_500_000_000 and is_calm(zone, fired)
        if calm:
            rows.append(row)
    return rows


def rejected_rows(rng, count):
    dialect = Dialect(rng)
    rows = [text for text in handwritten(REJECTED) if not accepts(text)]
    while len(rows) < count:
        expression = dialect.broken()
        if not accepts(expression):
            rows.append(expression)
    return rows


def write(folder, name, rows):
    comment = f"croniter {importlib.metadata.version('croniter')}, {len(rows)} rows; made by generate.py, don't edit"
    lines = [json.dumps(comment)] + [json.dumps(row, separators=(",", ":")) for row in rows]
    (folder / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description="Makes the test vectors of CronSchedule with croniter.")
    parser.add_argument("--rows", type=int, default=6000, help="rows of utc.json; the others have a share of that")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    options = parser.parse_args()
    write(options.out, "utc.json", utc_rows(random.Random(options.seed), options.rows))
    write(options.out, "zones.json", zone_rows(random.Random(options.seed + 1), options.rows // 5))
    write(options.out, "rejected.json", rejected_rows(random.Random(options.seed + 2), options.rows // 6))


if __name__ == "__main__":
    main()
