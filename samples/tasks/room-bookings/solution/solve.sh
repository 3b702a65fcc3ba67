#!/bin/bash
set -euo pipefail
/usr/local/bin/start-services

# The runner: a transaction for each file, by number; runners wait for each other at its start.
cat > bin/migrate <<'END'
#!/bin/bash
# Bring a database up to date: bin/migrate DATABASE [--to NUMBER]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
folder=${MIGRATIONS:-$here/migrations}
database=$1
last=999999999
[ "${2:-}" != --to ] || last=$3

# transact [PSQL ARGUMENT...]: run standard input as one transaction
transact() {
    { echo 'BEGIN; SET LOCAL client_min_messages = warning; SELECT pg_advisory_xact_lock(7262423) \g /dev/null'; cat; echo 'COMMIT;'; } \
        | psql -X -q -v ON_ERROR_STOP=1 -d "$database" "$@"
}

transact <<<'CREATE TABLE IF NOT EXISTS public.schema_migrations (number int NOT NULL, name text NOT NULL);'
ls "$folder" | { grep -E '^[1-9][0-9]*_.*\.sql$' || true; } | sort -n | while read -r file; do
    number=${file%%_*}
    [ "$number" -le "$last" ] || continue
    transact -v number="$number" -v name="$file" -v path="$folder/$file" <<'SQL'
SELECT NOT EXISTS (SELECT FROM public.schema_migrations WHERE number = :number) AS is_missing \gset
\if :is_missing
\i :path
INSERT INTO public.schema_migrations (number, name) VALUES (:number, :'name');
\echo applied :name
\endif
SQL
done
END

# Ranges in place of local times.
cat > migrations/3_during.sql <<'SQL'
ALTER TABLE bookings ADD during tstzrange;
UPDATE bookings
   SET during = CASE WHEN ends AT TIME ZONE zone > starts AT TIME ZONE zone
                     THEN tstzrange(starts AT TIME ZONE zone, ends AT TIME ZONE zone)
                     ELSE 'empty' END
  FROM rooms WHERE rooms.id = room_id;
ALTER TABLE bookings ALTER during SET NOT NULL;
CREATE TABLE rejected_bookings (
    id integer PRIMARY KEY,
    room_id integer NOT NULL REFERENCES rooms,
    booked_by text NOT NULL,
    status text NOT NULL,
    starts timestamp NOT NULL,
    ends timestamp NOT NULL,
    created_at timestamptz NOT NULL,
    reason text NOT NULL,
    blocked_by integer,
    guests text[] NOT NULL
);
SQL

# What is rejected.
cat > migrations/4_reject.sql <<'SQL'
CREATE FUNCTION reject(one bookings, reason text, blocked_by integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rejected_bookings
    SELECT one.id, one.room_id, one.booked_by, one.status, one.starts, one.ends, one.created_at,
           reason, blocked_by,
           ARRAY(SELECT email FROM guests WHERE booking_id = one.id ORDER BY email);
    DELETE FROM guests WHERE booking_id = one.id;
    DELETE FROM bookings WHERE id = one.id;
$$;
CREATE TEMPORARY TABLE kept (LIKE bookings) ON COMMIT DROP;
CREATE INDEX ON kept USING gist (during);
DO $$
DECLARE
    one bookings;
    blocker integer;
BEGIN
    FOR one IN SELECT * FROM bookings WHERE status <> 'cancelled' ORDER BY created_at, id LOOP
        SELECT id INTO blocker FROM kept
         WHERE room_id = one.room_id AND during && one.during
         ORDER BY created_at, id LIMIT 1;
        IF isempty(one.during) THEN
            PERFORM reject(one, 'empty', NULL);
        ELSIF blocker IS NOT NULL THEN
            PERFORM reject(one, 'overlap', blocker);
        ELSE
            INSERT INTO kept SELECT one.*;
        END IF;
    END LOOP;
END
$$;
DROP FUNCTION reject;
SQL

# What is refused from now on.
cat > migrations/5_refuse.sql <<'SQL'
CREATE EXTENSION IF NOT EXISTS btree_gist;
ALTER TABLE bookings DROP starts, DROP ends;
ALTER TABLE bookings ADD CHECK (status = 'cancelled' OR NOT isempty(during));
ALTER TABLE bookings ADD EXCLUDE USING gist (room_id WITH =, during WITH &&) WHERE (status <> 'cancelled');
SQL

bin/migrate app
