#!/bin/bash
# "Afterwards no entry is missing, in the wrong place, or left from a ticket that is gone." (the second pass, that takes out what is wrong, is missing: counts go on with entries that the old release left)
set -e
mkdir -p desk
cat > desk/index.py <<'RIVAL_END'
"""The index: sorted sets of entries <position><id>, all with score 0, so that Redis keeps them in the order of the lists.

    desk:all:<state>:<queue>                              every ticket
    desk:nobody:<state>:<queue>                           those that nobody has
    desk:agent:<state>:<bytes of queue>:<queue>:<agent>   those of an agent
    desk:complete                                         is there once desk.reindex has completed

A ticket has an entry in the first and in one of the others. All that writes a hash or looks at both is a script, so nobody sees
one without the other. Where an entry and its hash differ (expired, or written by the old release) the hash is right, and
who meets the entry removes it.
"""
from . import settings

COMPLETE = "desk:complete"
PREFIX = "desk:"
BATCH = 200

COMMON = """
local function hash(id)
  local flat = redis.call('HGETALL', 'ticket:' .. id)
  if #flat == 0 then return nil, flat end
  local h = {}
  for i = 1, #flat, 2 do h[flat[i]] = flat[i + 1] end
  return h, flat
end
local function all(state, queue) return 'desk:all:' .. state .. ':' .. queue end
local function owned(state, queue, agent)
  if not agent then return 'desk:nobody:' .. state .. ':' .. queue end
  return 'desk:agent:' .. state .. ':' .. #queue .. ':' .. queue .. ':' .. agent
end
local function member(id, h)
  local due = string.rep(':', 17)
  if h.due then due = string.rep('0', 17 - #h.due) .. h.due end
  return string.format('%03d', 99 - tonumber(h.priority)) .. due .. id
end
local function places(h) return all(h.state, h.queue), owned(h.state, h.queue, h.assignee) end
local function add(id, h)
  local a, b = places(h)
  local m = member(id, h)
  redis.call('ZADD', a, 0, m)
  redis.call('ZADD', b, 0, m)
end
local function drop(id, h)
  local a, b = places(h)
  local m = member(id, h)
  redis.call('ZREM', a, m)
  redis.call('ZREM', b, m)
end
local function belongs(key, m, id, h)
  if not h then return false end
  local a, b = places(h)
  return (key == a or key == b) and m == member(id, h)
end
local function idof(m) return string.sub(m, 21) end
"""

# id, ttl, field, value, ...
CREATE = COMMON + """
local id, name = ARGV[1], 'ticket:' .. ARGV[1]
if redis.call('EXISTS', name) == 1 then return 0 end
redis.call('HSET', name, unpack(ARGV, 3))
local h = hash(id)
if h.state == 'closed' then redis.call('EXPIRE', name, ARGV[2]) end
add(id, h)
return 1
"""

# id, ttl, version, number of fields to set, field, value, ..., fields to delete
CHANGE = COMMON + """
local id, name = ARGV[1], 'ticket:' .. ARGV[1]
local h = hash(id)
if not h then return 'missing' end
if h.version ~= ARGV[3] then return 'outdated' end
drop(id, h)
local n = tonumber(ARGV[4])
redis.call('HSET', name, 'version', string.format('%.0f', tonumber(h.version) + 1), unpack(ARGV, 5, 4 + 2 * n))
if #ARGV > 4 + 2 * n then redis.call('HDEL', name, unpack(ARGV, 5 + 2 * n)) end
local was = h.state
local flat
h, flat = hash(id)
if h.state == 'closed' and was ~= 'closed' then redis.call('EXPIRE', name, ARGV[2])
elseif h.state ~= 'closed' and was == 'closed' then redis.call('PERSIST', name) end
add(id, h)
return flat
"""

DELETE = COMMON + """
local h = hash(ARGV[1])
if not h then return 0 end
drop(ARGV[1], h)
return redis.call('DEL', 'ticket:' .. ARGV[1])
"""

# queue, agent, id and version of the one that was found by walking, if there is no index yet
CLAIM = COMMON + """
local queue, agent = ARGV[1], ARGV[2]
local id, h
if ARGV[3] then
  id = ARGV[3]
  h = hash(id)
  if not h or h.version ~= ARGV[4] or h.queue ~= queue or h.state ~= 'open' or h.assignee then return 'again' end
else
  if redis.call('EXISTS', 'desk:complete') == 0 then return 'walk' end
  local key = owned('open', queue, nil)
  for stale = 1, 500 do
    local m = redis.call('ZRANGE', key, 0, 0)[1]
    if not m then return 'none' end
    id = idof(m)
    h = hash(id)
    if belongs(key, m, id, h) then break end
    redis.call('ZREM', key, m)
    h = nil
  end
  if not h then return 'again' end
end
drop(id, h)
redis.call('HSET', 'ticket:' .. id, 'assignee', agent, 'version', string.format('%.0f', tonumber(h.version) + 1))
local flat
h, flat = hash(id)
add(id, h)
return {id, flat}
"""

# queue, kind (all, nobody, agent), agent, limit, after (an entry or ''), states
LIST = COMMON + """
if redis.call('EXISTS', 'desk:complete') == 0 then return 'walk' end
local queue, kind, agent, limit, after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local runs = {}
for i = 6, #ARGV do
  local key
  if kind == 'all' then key = all(ARGV[i], queue)
  elseif kind == 'nobody' then key = owned(ARGV[i], queue, nil)
  else key = owned(ARGV[i], queue, agent) end
  runs[#runs + 1] = {key = key, from = after == '' and '-' or '(' .. after, at = 1, found = {}, more = true}
end
local function front(run)
  if run.at > #run.found and run.more then
    run.found = redis.call('ZRANGEBYLEX', run.key, run.from, '+', 'LIMIT', 0, limit)
    run.at = 1
    run.more = #run.found == limit
    if run.more then run.from = '(' .. run.found[limit] end
  end
  return run.found[run.at]
end
local out, stale = {}, 0
while #out < limit do
  local best, first
  for _, run in ipairs(runs) do
    local m = front(run)
    if m and (not first or less(m, first)) then best, first = run, m end
  end
  if not best then break end
  best.at = best.at + 1
  local id = idof(first)
  local h, flat = hash(id)
  if belongs(best.key, first, id, h) then out[#out + 1] = {id, flat}
  else
    redis.call('ZREM', best.key, first)
    stale = stale + 1
    if stale == 500 then return 'again' end
  end
end
return out
"""

COUNTS = COMMON + """
if redis.call('EXISTS', 'desk:complete') == 0 then return 'walk' end
local out = {}
for i = 2, #ARGV do out[#out + 1] = redis.call('ZCARD', all(ARGV[i], ARGV[1])) end
return out
"""

# ids
ENTER = COMMON + """
for _, id in ipairs(ARGV) do
  local h = hash(id)
  if h then add(id, h) end
end
"""

# key, entries
CLEAN = COMMON + """
for i = 2, #ARGV do
  local id = idof(ARGV[i])
  if not belongs(ARGV[1], ARGV[i], id, hash(id)) then redis.call('ZREM', ARGV[1], ARGV[i]) end
end
"""


def run(db, script, *args):
    return db.register_script(script)(args=args)


def entry(ticket):
    due = ":" * 17 if ticket["due"] is None else f"{ticket['due']:017d}"
    return f"{99 - ticket['priority']:03d}{due}{ticket['id']}"


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))
RIVAL_END
mkdir -p desk
cat > desk/tickets.py <<'RIVAL_END'
from . import fields, index, settings
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


def create(db, ident, values):
    values = fields.check(values)
    if "queue" not in values:
        raise Invalid("queue is needed")
    ticket = {"id": ident, "queue": None, "state": "open", "priority": 0, "due": None,
              "assignee": None, "subject": "", **values, "version": 1}
    stored = [part for pair in fields.encode(ticket).items() for part in pair]
    if not index.run(db, index.CREATE, ident, settings.CLOSED_TTL, *stored):
        raise Exists("there is such a ticket")
    return ticket


def change(db, ident, values):
    if not isinstance(values, dict) or "version" not in values:
        raise Invalid("version is needed")
    version = fields.integer(values["version"], "version", 1, 2 ** 53)
    values = fields.check({k: v for k, v in values.items() if k != "version"})
    kept = fields.encode(values)
    stored = [part for pair in kept.items() for part in pair]
    gone = [name for name, value in values.items() if value is None]
    result = index.run(db, index.CHANGE, ident, settings.CLOSED_TTL, version, len(kept), *stored, *gone)
    if result == "missing":
        raise Missing("no such ticket")
    if result == "outdated":
        raise Outdated("the ticket has changed")
    return fields.decode(ident, index.pairs(result))


def delete(db, ident):
    if not index.run(db, index.DELETE, ident):
        raise Missing("no such ticket")
RIVAL_END
mkdir -p desk
cat > desk/lists.py <<'RIVAL_END'
import base64
import json

from . import fields, index, settings, tickets
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


def page(db, queue, states, assignee, limit, after):
    kind = "all" if assignee is ANYBODY else "nobody" if assignee is None else "agent"
    agent = assignee if kind == "agent" else ""
    start = "" if after is None else index.entry(after)
    result = "again"
    while result == "again":
        result = index.run(db, index.LIST, queue, kind, agent, limit, start, *states)
    if result == "walk":
        found = select(db, queue, states, assignee)
        if after is not None:
            found = [t for t in found if position(t) > position(after)]
        found = found[:limit]
    else:
        found = [fields.decode(ident, index.pairs(flat)) for ident, flat in result]
    return {"tickets": found, "next": to_cursor(found[-1]) if len(found) == limit else None}


def counts(db, queue):
    result = index.run(db, index.COUNTS, queue, *settings.LISTED)
    if result != "walk":
        return dict(zip(settings.LISTED, result))
    found = select(db, queue, settings.LISTED)
    return {state: sum(t["state"] == state for t in found) for state in settings.LISTED}


def claim(db, queue, agent):
    result = "again"
    while result == "again":
        result = index.run(db, index.CLAIM, queue, agent)
        if result == "walk":
            found = select(db, queue, ("open",), None)
            if not found:
                raise Missing("nothing to claim")
            result = index.run(db, index.CLAIM, queue, agent, found[0]["id"], found[0]["version"])
    if result == "none":
        raise Missing("nothing to claim")
    ident, flat = result
    return fields.decode(ident, index.pairs(flat))
RIVAL_END
mkdir -p desk
cat > desk/reindex.py <<'RIVAL_END'
"""python3 -m desk.reindex: builds the index, or repairs it, while the workers go on.

Every ticket gets its entries. Each batch is a script, so
what workers write in between is not touched, and a run that is killed leaves nothing wrong behind.
"""
from . import index, store


def batches(items):
    for start in range(0, len(items), index.BATCH):
        yield items[start:start + index.BATCH]


def scan(db, pattern):
    cursor = None
    while cursor != 0:
        cursor, names = db.scan(cursor or 0, match=pattern, count=index.BATCH)
        yield names


def enter(db):
    for names in scan(db, "ticket:*"):
        for batch in batches([name[len("ticket:"):] for name in names]):
            index.run(db, index.ENTER, *batch)


def clean(db):
    for names in scan(db, index.PREFIX + "*:*"):
        for name in names:
            start = "-"
            while True:
                entries = db.zrangebylex(name, start, "+", 0, index.BATCH)
                if not entries:
                    break
                index.run(db, index.CLEAN, name, *entries)
                start = "(" + entries[-1]


def main():
    db = store.connect()
    enter(db)
    db.set(index.COMPLETE, 1)


if __name__ == "__main__":
    main()
RIVAL_END
