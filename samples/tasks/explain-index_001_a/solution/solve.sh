set -e
cat > desk/index.py <<'E'
"""The index: two sorted sets with a member per ticket, in the order of the lists, kept in the scripts that write the hashes.

index:all:<length>:<queue>:<state>            all tickets of a queue and state
index:who:<length>:<queue>:<state>:=<name>    those of an assignee; without "=<name>" those of nobody
"""
from . import fields

COMPLETE = "index:complete"
BATCH = 200

COMMON = r"""
local function load(id)
  local flat = redis.call('HGETALL', 'ticket:' .. id)
  if #flat == 0 then return nil end
  local h = {}
  for i = 1, #flat, 2 do h[flat[i]] = flat[i + 1] end
  return h, flat
end

local function all_key(queue, state)
  return 'index:all:' .. #queue .. ':' .. queue .. ':' .. state
end

local function who_key(queue, state, assignee)
  local key = 'index:who:' .. #queue .. ':' .. queue .. ':' .. state .. ':'
  if assignee then key = key .. '=' .. assignee end
  return key
end

local function member(id, h)
  local due = string.rep(':', 17)
  if h.due then due = string.rep('0', 17 - #h.due) .. h.due end
  return string.format('%03d', 99 - tonumber(h.priority)) .. due .. id
end

local function insert(id, h)
  local m = member(id, h)
  redis.call('ZADD', all_key(h.queue, h.state), 0, m)
  redis.call('ZADD', who_key(h.queue, h.state, h.assignee), 0, m)
end

local function remove(id, h)
  local m = member(id, h)
  redis.call('ZREM', all_key(h.queue, h.state), m)
  redis.call('ZREM', who_key(h.queue, h.state, h.assignee), m)
end

local function belongs(key, m, id, h)
  return h and m == member(id, h) and (key == all_key(h.queue, h.state) or key == who_key(h.queue, h.state, h.assignee))
end

local function take(id, h, agent)
  local key = 'ticket:' .. id
  remove(id, h)
  redis.call('HSET', key, 'assignee', agent)
  redis.call('HINCRBY', key, 'version', 1)
  local now, flat = load(id)
  insert(id, now)
  return {id, flat}
end
"""

CREATE = r"""
local id, ttl = ARGV[1], ARGV[2]
local key = 'ticket:' .. id
if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, unpack(ARGV, 3))
local h = load(id)
if h.state == 'closed' then redis.call('EXPIRE', key, ttl) end
insert(id, h)
return 1
"""

CHANGE = r"""
local id, version, ttl, sets = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key = 'ticket:' .. id
local before = load(id)
if not before then return 0 end
if before.version ~= version then return 1 end
remove(id, before)
redis.call('HSET', key, unpack(ARGV, 5, 4 + sets))
if #ARGV > 4 + sets then redis.call('HDEL', key, unpack(ARGV, 5 + sets)) end
local after, flat = load(id)
if after.state == 'closed' and before.state ~= 'closed' then
  redis.call('EXPIRE', key, ttl)
elseif after.state ~= 'closed' and before.state == 'closed' then
  redis.call('PERSIST', key)
end
insert(id, after)
return flat
"""

DELETE = r"""
local h = load(ARGV[1])
if not h then return 0 end
remove(ARGV[1], h)
return redis.call('DEL', 'ticket:' .. ARGV[1])
"""

CLAIM = r"""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local key = who_key(ARGV[1], 'open', nil)
while true do
  local m = redis.call('ZRANGE', key, '-', '+', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not m then return {} end
  local id = string.sub(m, 21)
  local h = load(id)
  if belongs(key, m, id, h) then return take(id, h, ARGV[2]) end
  redis.call('ZREM', key, m)
end
"""

TAKE = r"""
local id = ARGV[1]
local h = load(id)
if not h or h.version ~= ARGV[2] or h.queue ~= ARGV[3] or h.state ~= 'open' or h.assignee then return false end
return take(id, h, ARGV[4])
"""

COUNTS = r"""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local result = {}
for i = 2, #ARGV do result[#result + 1] = redis.call('ZCARD', all_key(ARGV[1], ARGV[i])) end
return result
"""

PAGE = r"""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local queue, who, start, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local function fill(source)
  source.got = redis.call('ZRANGE', source.key, source.start, '+', 'BYLEX', 'LIMIT', 0, limit)
  source.at = 1
  if #source.got > 0 then source.start = '(' .. source.got[#source.got] end
end

-- not the comparison of Lua: that one follows the locale of the server
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local sources = {}
for i = 5, #ARGV do
  local key
  if who == '*' then key = all_key(queue, ARGV[i])
  elseif who == '' then key = who_key(queue, ARGV[i], nil)
  else key = who_key(queue, ARGV[i], string.sub(who, 2)) end
  local source = {key = key, start = start}
  fill(source)
  sources[#sources + 1] = source
end

local result = {}
while #result < limit do
  local best
  for _, s in ipairs(sources) do
    if s.got[s.at] and (not best or less(s.got[s.at], best.got[best.at])) then best = s end
  end
  if not best then break end
  local m = best.got[best.at]
  local id = string.sub(m, 21)
  local h, flat = load(id)
  if belongs(best.key, m, id, h) then
    result[#result + 1] = {id, flat}
  else
    redis.call('ZREM', best.key, m)
  end
  best.at = best.at + 1
  if best.at > #best.got and #best.got == limit and #result < limit then fill(best) end
end
return result
"""

VERIFY = r"""
local key = ARGV[1]
for i = 2, #ARGV do
  local id = string.sub(ARGV[i], 21)
  if not belongs(key, ARGV[i], id, (load(id))) then redis.call('ZREM', key, ARGV[i]) end
end
return 1
"""

INSERT = r"""
for i = 1, #ARGV do
  local h = load(ARGV[i])
  if h then insert(ARGV[i], h) end
end
return 1
"""

_scripts = {}


def run(db, source, keys=(), args=()):
    if source not in _scripts:
        _scripts[source] = db.register_script(COMMON + source)
    return _scripts[source](keys=keys, args=args, client=db)


def ticket(ident, flat):
    return fields.decode(ident, dict(zip(flat[::2], flat[1::2])))


def member(at):
    due = ":" * 17 if at["due"] is None else f"{at['due']:017d}"
    return f"{99 - at['priority']:03d}{due}{at['id']}"


def page(db, queue, states, who, limit, after):
    start = "-" if after is None else "(" + member(after)
    rows = run(db, PAGE, [COMPLETE], [queue, who, start, limit, *states])
    return None if rows is None else [ticket(*row) for row in rows]
E
cat > desk/reindex.py <<'E'
"""Builds and repairs the index, while the workers go on."""
from . import index, store


def batches(items):
    items = list(items)
    for i in range(0, len(items), index.BATCH):
        yield items[i:i + index.BATCH]


def scan(db, match):
    cursor = None
    while cursor != 0:
        cursor, names = db.scan(cursor or 0, match=match, count=index.BATCH)
        yield from batches(names)


def main():
    db = store.connect()
    for names in scan(db, "index:*"):
        for name in names:
            if not name.startswith(("index:all:", "index:who:")):
                continue
            cursor = None
            while cursor != 0:
                cursor, members = db.zscan(name, cursor or 0, count=index.BATCH)
                for batch in batches(m for m, _ in members):
                    index.run(db, index.VERIFY, args=[name, *batch])
    for names in scan(db, "ticket:*"):
        index.run(db, index.INSERT, args=[n[len("ticket:"):] for n in names])
    db.set(index.COMPLETE, 1)


if __name__ == "__main__":
    main()
E
python3 - <<'P'
p = "desk/tickets.py"
s = open(p).read()
s = s.replace("from . import fields, settings\n", "from . import fields, index, settings\n")
a = s.index('    if db.exists(key(ident)):')
b = s.index('    ticket = {"id": ident')
s = s[:a] + s[b:]
s = s.replace('''    save(db, None, ticket)
    return ticket
''', '''    stored = [part for pair in fields.encode(ticket).items() for part in pair]
    if not index.run(db, index.CREATE, args=[ident, settings.CLOSED_TTL, *stored]):
        raise Exists("there is such a ticket")
    return ticket
''')
a = s.index('    before = get(db, ident)')
s = s[:a] + '''    values["version"] = version + 1
    stored = [part for pair in fields.encode(values).items() for part in pair]
    gone = [name for name, value in values.items() if value is None]
    done = index.run(db, index.CHANGE, args=[ident, version, settings.CLOSED_TTL, len(stored), *stored, *gone])
    if done == 0:
        raise Missing("no such ticket")
    if done == 1:
        raise Outdated("the ticket has changed")
    return index.ticket(ident, done)


def delete(db, ident):
    if not index.run(db, index.DELETE, args=[ident]):
        raise Missing("no such ticket")
'''
open(p, "w").write(s)

p = "desk/lists.py"
s = open(p).read()
s = s.replace("from . import fields, settings, tickets\n", "from . import fields, index, settings, tickets\n")
a = s.index("def page(")
s = s[:a] + '''def page(db, queue, states, assignee, limit, after):
    who = "*" if assignee is ANYBODY else "" if assignee is None else "=" + assignee
    found = index.page(db, queue, states, who, limit, after)
    if found is None:
        found = select(db, queue, states, assignee)
        if after is not None:
            found = [t for t in found if position(t) > position(after)]
        found = found[:limit]
    return {"tickets": found, "next": to_cursor(found[-1]) if len(found) == limit else None}


def counts(db, queue):
    numbers = index.run(db, index.COUNTS, [index.COMPLETE], [queue, *settings.LISTED])
    if numbers is not None:
        return dict(zip(settings.LISTED, numbers))
    found = select(db, queue, settings.LISTED)
    return {state: sum(t["state"] == state for t in found) for state in settings.LISTED}


def claim(db, queue, agent):
    taken = index.run(db, index.CLAIM, [index.COMPLETE], [queue, agent])
    while taken is None:
        found = select(db, queue, ("open",), None)
        if not found:
            break
        taken = index.run(db, index.TAKE, args=[found[0]["id"], found[0]["version"], queue, agent])
    if not taken:
        raise Missing("nothing to claim")
    return index.ticket(*taken)
'''
open(p, "w").write(s)
P
