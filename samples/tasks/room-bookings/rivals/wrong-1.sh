#!/bin/bash
# "Several runners may work on one database at once: each file is applied once, and all of them exit with 0." (what is applied is read before the lock, and not again behind it)
set -e
cat > bin/migrate <<'EOF'
#!/bin/bash
# Bring a database up to date: bin/migrate DATABASE [--to NUMBER]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
folder=${MIGRATIONS:-$here/migrations}

usage() { echo "usage: migrate DATABASE [--to NUMBER]" >&2; exit 64; }

database= last=
while [ $# -gt 0 ]; do
    case $1 in
        --to) [ $# -ge 2 ] || usage; last=$2; shift 2 ;;
        --to=*) last=${1#--to=}; shift ;;
        *) [ -z "$database" ] || usage; database=$1; shift ;;
    esac
done
[ -n "$database" ] || usage
[ -z "$last" ] || [[ $last =~ ^[0-9]+$ ]] || usage
[ -d "$folder" ] || { echo "migrate: no folder $folder" >&2; exit 1; }

# All runners on a database wait for this lock; it goes with the session.
lock='SELECT pg_advisory_lock(7203517)'

psql -X -q -d "$database" -v ON_ERROR_STOP=1 -o /dev/null <<SQL
SET client_min_messages = warning;
$lock;
CREATE TABLE IF NOT EXISTS public.schema_migrations (number bigint NOT NULL, name text NOT NULL);
DO \$\$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.schema_migrations'::regclass
                                          AND attname = 'number' AND atttypid = 'integer'::regtype) THEN
        ALTER TABLE public.schema_migrations ALTER number TYPE bigint;
    END IF;
END
\$\$;
SQL

known=" $(psql -X -q -t -A -d "$database" -c 'SELECT number FROM public.schema_migrations' | tr '\n' ' ')"

apply() {
    [[ $known != *" $1 "* ]] || return 0
    psql -X -q -d "$database" -v ON_ERROR_STOP=1 -v number="$1" -v name="$2" -v file="$folder/$2" <<SQL
\o /dev/null
$lock;
\o
BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO public.schema_migrations (number, name) VALUES (:number, :'name');
\i :file
COMMIT;
\echo applied :name
SQL
}

shopt -s nullglob
list=()
for path in "$folder"/*.sql; do
    name=${path##*/}
    [[ $name =~ ^([0-9]+)_ ]] || continue
    number=$((10#${BASH_REMATCH[1]}))
    if [ -z "$last" ] || [ "$number" -le "$((10#$last))" ]; then
        list+=("$number $name")
    fi
done
[ ${#list[@]} -gt 0 ] || exit 0
mapfile -t list < <(printf '%s\n' "${list[@]}" | LC_ALL=C sort -n)
for entry in "${list[@]}"; do
    apply "${entry%% *}" "${entry#* }" </dev/null || { echo "migrate: ${entry#* } failed" >&2; exit 1; }
done
EOF
chmod 755 bin/migrate
cat > migrations/3_during.sql <<'EOF'
-- Bookings get the moments between which they hold the room.
LOCK TABLE rooms IN SHARE MODE;
LOCK TABLE bookings, guests IN ACCESS EXCLUSIVE MODE;

ALTER TABLE bookings ADD during tstzrange;

UPDATE bookings b
SET during = CASE WHEN b.ends AT TIME ZONE r.zone > b.starts AT TIME ZONE r.zone
                  THEN tstzrange(b.starts AT TIME ZONE r.zone, b.ends AT TIME ZONE r.zone, '[)')
                  ELSE 'empty' END
FROM rooms r
WHERE r.id = b.room_id;

CREATE TABLE rejected_bookings (
    id integer PRIMARY KEY,
    room_id integer NOT NULL REFERENCES rooms,
    booked_by text NOT NULL,
    status text NOT NULL CHECK (status IN ('tentative', 'confirmed', 'cancelled')),
    starts timestamp NOT NULL,
    ends timestamp NOT NULL,
    created_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (reason IN ('empty', 'overlap')),
    blocked_by integer,
    guests text[] NOT NULL,
    CHECK ((reason = 'empty') = (blocked_by IS NULL))
);

CREATE FUNCTION pg_temp.reject(booking integer, why text, blocker integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rejected_bookings (id, room_id, booked_by, status, starts, ends, created_at, reason, blocked_by, guests)
    SELECT b.id, b.room_id, b.booked_by, b.status, b.starts, b.ends, b.created_at, why, blocker,
           coalesce((SELECT array_agg(g.email ORDER BY g.email) FROM guests g WHERE g.booking_id = b.id), '{}')
    FROM bookings b
    WHERE b.id = booking;
    DELETE FROM guests WHERE booking_id = booking;
    DELETE FROM bookings WHERE id = booking;
$$;

CREATE TEMPORARY TABLE kept (room_id integer, during tstzrange, created_at timestamptz, id integer) ON COMMIT DROP;
CREATE INDEX kept_during ON kept USING gist (during);

DO $$
DECLARE
    booking record;
    blocker integer;
BEGIN
    FOR booking IN SELECT * FROM bookings WHERE status <> 'cancelled' ORDER BY created_at, id LOOP
        IF isempty(booking.during) THEN
            PERFORM pg_temp.reject(booking.id, 'empty', NULL);
            CONTINUE;
        END IF;
        SELECT kept.id INTO blocker FROM kept
        WHERE kept.room_id = booking.room_id AND kept.during && booking.during
        ORDER BY kept.created_at, kept.id LIMIT 1;
        IF FOUND THEN
            PERFORM pg_temp.reject(booking.id, 'overlap', blocker);
        ELSE
            INSERT INTO kept VALUES (booking.room_id, booking.during, booking.created_at, booking.id);
        END IF;
    END LOOP;
END
$$;

DROP FUNCTION pg_temp.reject(integer, text, integer);
ALTER TABLE bookings ALTER during SET NOT NULL, DROP starts, DROP ends;
EOF
cat > migrations/4_no_two_at_once.sql <<'EOF'
CREATE EXTENSION IF NOT EXISTS btree_gist;

ALTER TABLE bookings
    ADD CONSTRAINT bookings_not_empty CHECK (status = 'cancelled' OR NOT isempty(during)),
    ADD CONSTRAINT bookings_no_two_at_once
        EXCLUDE USING gist (room_id WITH =, during WITH &&) WHERE (status <> 'cancelled');
EOF
