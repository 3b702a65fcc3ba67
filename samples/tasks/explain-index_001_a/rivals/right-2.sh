#!/bin/bash
# one sorted set for all, with hex names; Python works everything out and writes by a compare-and-swap script; lists clean up and ask again
set -e
mkdir -p desk
cat > desk/index.py <<'RIVAL_END'
"""One sorted set `idx` (all scores 0) with two entries for each ticket:

    a/<state>/<hex queue>/<position><id>
    b/<state>/<hex queue>/<hex assignee, or - >/<position><id>

Python works out what a ticket's entries are. Nothing is written but by SWAP, which does so only if the hash still is what was seen.
`idx:ready` says that desk.reindex has been through once.
"""
KEY = "idx"
READY = "idx:ready"
WIDTH = 20  # of a position

SWAP = """
local p = cjson.decode(ARGV[1])
local name = 'ticket:' .. p.id
local flat = redis.call('HGETALL', name)
if #flat ~= p.fields * 2 then return 0 end
for i = 1, #flat, 2 do if p.seen[flat[i]] ~= flat[i + 1] then return 0 end end
if #p.rem > 0 then redis.call('ZREM', 'idx', unpack(p.rem)) end
if p.hset then redis.call('HSET', name, unpack(p.hset)) end
if p.hdel then redis.call('HDEL', name, unpack(p.hdel)) end
if p.del then redis.call('DEL', name) end
if p.expire then redis.call('EXPIRE', name, p.expire) end
if p.persist then redis.call('PERSIST', name) end
for _, entry in ipairs(p.add) do redis.call('ZADD', 'idx', 0, entry) end
return 1
"""

# limit, [prefix, lowest] ...: the first entries of all of these ranges by what comes after the prefix, with the hashes
RANGE = """
if redis.call('EXISTS', 'idx:ready') == 0 then return false end
local limit = tonumber(ARGV[1])
local found = {}
for i = 2, #ARGV, 2 do
  local prefix = ARGV[i]
  local past = string.sub(prefix, 1, -2) .. '0'  -- '/' + 1
  for _, entry in ipairs(redis.call('ZRANGEBYLEX', 'idx', ARGV[i + 1], '(' .. past, 'LIMIT', 0, limit)) do
    found[#found + 1] = {entry, string.sub(entry, #prefix + 1)}
  end
end
table.sort(found, function(x, y)
  local a, b = x[2], y[2]
  for i = 1, math.min(#a, #b) do
    local c, d = string.byte(a, i), string.byte(b, i)
    if c ~= d then return c < d end
  end
  return #a < #b
end)
local out = {}
for i = 1, math.min(limit, #found) do
  local id = string.sub(found[i][2], 21)
  out[i] = {found[i][1], id, redis.call('HGETALL', 'ticket:' .. id)}
end
return out
"""

# entry, id, entry, id, ...
LOOK = """
local out = {}
for i, id in ipairs(ARGV) do out[i] = redis.call('HGETALL', 'ticket:' .. id) end
return out
"""

# takes the first of a range; prefix, queue, assignee's hex prefix, agent
TAKE = """
if redis.call('EXISTS', 'idx:ready') == 0 then return 'walk' end
local prefix, whole, theirs, queue, agent = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local past = string.sub(prefix, 1, -2) .. '0'
for turn = 1, 300 do
  local entry = redis.call('ZRANGEBYLEX', 'idx', '[' .. prefix, '(' .. past, 'LIMIT', 0, 1)[1]
  if not entry then return 'none' end
  local tail = string.sub(entry, #prefix + 1)
  local id = string.sub(tail, 21)
  local name = 'ticket:' .. id
  local v = redis.call('HMGET', name, 'queue', 'state', 'assignee', 'priority', 'due', 'version')
  local good = v[1] == queue and v[2] == 'open' and not v[3]
  if good then
    local due = v[5] and string.rep('0', 17 - #v[5]) .. v[5] or string.rep(':', 17)
    good = string.format('%03d', 99 - tonumber(v[4])) .. due == string.sub(tail, 1, 20)
  end
  redis.call('ZREM', 'idx', entry)
  if good then
    redis.call('HSET', name, 'assignee', agent, 'version', string.format('%.0f', tonumber(v[6]) + 1))
    redis.call('ZADD', 'idx', 0, whole .. tail, 0, theirs .. tail)
    return {id, redis.call('HGETALL', name)}
  end
end
return 'again'
"""


def hexed(text):
    return text.encode().hex()


def whole(queue, state):
    return f"a/{state}/{hexed(queue)}/"


def part(queue, state, assignee):
    return f"b/{state}/{hexed(queue)}/{'-' if assignee is None else hexed(assignee)}/"


def tail(ticket):
    due = ":" * 17 if ticket["due"] is None else str(ticket["due"]).zfill(17)
    return str(99 - ticket["priority"]).zfill(3) + due + ticket["id"]


def entries(ticket):
    end = tail(ticket)
    return [whole(ticket["queue"], ticket["state"]) + end, part(ticket["queue"], ticket["state"], ticket["assignee"]) + end]


def ident_of(entry):
    skip = 3 if entry[0] == "a" else 4
    return entry.split("/", skip)[skip][WIDTH:]


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def ready(db):
    return db.exists(READY) == 1
RIVAL_END
mkdir -p desk
cat > desk/store.py <<'RIVAL_END'
import json

import redis

from . import index, settings


def connect():
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)


def script(db, text, *args):
    return db.register_script(text)(args=args)


def swap(db, ident, seen, rem=(), add=(), **more):
    """Writes if the hash of the ticket is still `seen`, and says whether."""
    # cjson makes an empty list of {} too, which does no harm here
    plan = {"id": ident, "seen": seen, "fields": len(seen), "rem": list(rem), "add": list(add), **more}
    return script(db, index.SWAP, json.dumps(plan, ensure_ascii=False)) == 1
RIVAL_END
mkdir -p desk
cat > desk/tickets.py <<'RIVAL_END'
from . import fields, index, settings, store
from .errors import Exists, Invalid, Missing, Outdated


def key(ident):
    return "ticket:" + ident


def load(db, ident):
    stored = db.hgetall(key(ident))
    return fields.decode(ident, stored) if stored else None


def get(db, ident):
    ticket = load(db, ident)
    if ticket is None:
        raise Missing("no such ticket")
    return ticket


def flat(stored):
    return [part for pair in stored.items() for part in pair]


def create(db, ident, values):
    values = fields.check(values)
    if "queue" not in values:
        raise Invalid("queue is needed")
    ticket = {"id": ident, "queue": None, "state": "open", "priority": 0, "due": None,
              "assignee": None, "subject": "", **values, "version": 1}
    more = {"expire": settings.CLOSED_TTL} if ticket["state"] == "closed" else {}
    if not store.swap(db, ident, {}, add=index.entries(ticket), hset=flat(fields.encode(ticket)), **more):
        raise Exists("there is such a ticket")
    return ticket


def change(db, ident, values):
    if not isinstance(values, dict) or "version" not in values:
        raise Invalid("version is needed")
    version = fields.integer(values["version"], "version", 1, 2 ** 53)
    values = fields.check({k: v for k, v in values.items() if k != "version"})
    while True:
        before = get(db, ident)
        if before["version"] != version:
            raise Outdated("the ticket has changed")
        after = {**before, **values, "version": version + 1}
        if save(db, before, after):
            return after


def delete(db, ident):
    while True:
        before = get(db, ident)
        if store.swap(db, ident, fields.encode(before), rem=index.entries(before), **{"del": True}):
            return


def save(db, before, after):
    """False if the ticket is not `before` any more."""
    more = {"hset": flat(fields.encode(after))}
    gone = [k for k, v in after.items() if v is None]
    if gone:
        more["hdel"] = gone
    if after["state"] == "closed" and before["state"] != "closed":
        more["expire"] = settings.CLOSED_TTL
    elif before["state"] == "closed" and after["state"] != "closed":
        more["persist"] = True
    return store.swap(db, after["id"], fields.encode(before), index.entries(before), index.entries(after), **more)
RIVAL_END
mkdir -p desk
cat > desk/lists.py <<'RIVAL_END'
import base64
import json

from . import fields, index, settings, store, tickets
from .errors import Invalid, Missing

ANYBODY = object()


def position(ticket):
    due = ticket["due"]
    return (-ticket["priority"], due is None, due or 0, ticket["id"])


def to_cursor(ticket):
    raw = json.dumps([ticket["priority"], ticket["due"], ticket["id"]])
    return base64.urlsafe_b64encode(raw.encode()).decode()


def from_cursor(cursor):
    try:
        priority, due, ident = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        at = fields.check({"priority": priority, "due": due})
        return {**at, "id": fields.text(ident, "id")}
    except Exception:
        raise Invalid("after is not a cursor")


def walk(db):
    for name in set(db.scan_iter(match="ticket:*", count=500)):
        ticket = tickets.load(db, name[len("ticket:"):])
        if ticket:
            yield ticket


def select(db, queue, states, assignee=ANYBODY):
    found = [
        t for t in walk(db)
        if t["queue"] == queue and t["state"] in states
        and (assignee is ANYBODY or t["assignee"] == assignee)
    ]
    return sorted(found, key=position)


def prefixes(queue, states, assignee):
    return [index.whole(queue, s) if assignee is ANYBODY else index.part(queue, s, assignee) for s in states]


def indexed(db, queue, states, assignee, limit, after):
    """The tickets of a page, or None where the index is not there yet. Entries that are wrong go on the way."""
    ranges = []
    for prefix in prefixes(queue, states, assignee):
        ranges += [prefix, "[" + prefix if after is None else "(" + prefix + index.tail(after)]
    while True:
        rows = store.script(db, index.RANGE, limit, *ranges)
        if rows is None:
            return None
        found, wrong = [], 0
        for entry, ident, flat in rows:
            stored = index.pairs(flat)
            ticket = fields.decode(ident, stored) if stored else None
            if ticket and entry in index.entries(ticket):
                found.append(ticket)
            else:
                wrong += 1
                store.swap(db, ident, stored, rem=[entry])
        if not wrong:
            return found


def page(db, queue, states, assignee, limit, after):
    found = indexed(db, queue, states, assignee, limit, after)
    if found is None:
        found = select(db, queue, states, assignee)
        if after is not None:
            found = [t for t in found if position(t) > position(after)]
        found = found[:limit]
    return {"tickets": found, "next": to_cursor(found[-1]) if len(found) == limit else None}


def counts(db, queue):
    if not index.ready(db):
        found = select(db, queue, settings.LISTED)
        return {state: sum(t["state"] == state for t in found) for state in settings.LISTED}
    result = {}
    for state in settings.LISTED:
        prefix = index.whole(queue, state)
        result[state] = db.zlexcount(index.KEY, "[" + prefix, "(" + prefix[:-1] + "0")
    return result


def claim(db, queue, agent):
    while True:
        result = store.script(db, index.TAKE, index.part(queue, "open", None), index.whole(queue, "open"),
                              index.part(queue, "open", agent), queue, agent)
        if isinstance(result, list):
            return fields.decode(result[0], index.pairs(result[1]))
        if result == "walk":
            found = select(db, queue, ("open",), None)
            if found:
                after = {**found[0], "assignee": agent, "version": found[0]["version"] + 1}
                if tickets.save(db, found[0], after):
                    return after
                continue
        if result != "again":
            raise Missing("nothing to claim")
RIVAL_END
mkdir -p desk
cat > desk/reindex.py <<'RIVAL_END'
"""python3 -m desk.reindex: enters all tickets into the index, then takes out what is wrong in it."""
from . import fields, index, store

BATCH = 200


def chunks(items):
    return [items[i:i + BATCH] for i in range(0, len(items), BATCH)]


def looked_up(db, idents):
    for ident, flat in zip(idents, store.script(db, index.LOOK, *idents)):
        stored = index.pairs(flat)
        yield ident, stored, fields.decode(ident, stored) if stored else None


def put_in(db, idents):
    """What has changed since it was read has been entered by who changed it, unless that was the old release: look again."""
    while idents:
        again = []
        for ident, stored, ticket in looked_up(db, idents):
            if ticket and not store.swap(db, ident, stored, add=index.entries(ticket)):
                again.append(ident)
        idents = again


def take_out(db, entries):
    while entries:
        again = []
        for entry, (ident, stored, ticket) in zip(entries, looked_up(db, [index.ident_of(e) for e in entries])):
            right = ticket is not None and entry in index.entries(ticket)
            if not right and not store.swap(db, ident, stored, rem=[entry]):
                again.append(entry)
        entries = again


def main():
    db = store.connect()
    cursor = None
    while cursor != 0:
        cursor, names = db.scan(cursor or 0, match="ticket:*", count=BATCH)
        for part in chunks(names):
            put_in(db, [name[len("ticket:"):] for name in part])
    start = "-"
    while True:
        entries = db.zrangebylex(index.KEY, start, "+", 0, BATCH)
        if not entries:
            break
        take_out(db, entries)
        start = "(" + entries[-1]
    db.set(index.READY, "1")


if __name__ == "__main__":
    main()
RIVAL_END
