#!/bin/bash
# Runner: LOCK TABLE schema_migrations in the transaction of each file. Migrations: sift by room with arrays from the local times first, then delete and convert; the constraint has the room as an int8range, without an extension.
set -e
cat > bin/migrate <<'EOF'
#!/bin/bash
# Bring a database up to date: bin/migrate DATABASE [--to NUMBER]
# Each file is one transaction: lock the table of the applied ones, look again, note the file, apply it.
set -u
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
dir=${MIGRATIONS:-$root/migrations}

die() { printf 'migrate: %s\n' "$2" >&2; exit "$1"; }

case $# in
    1) upto= ;;
    3) [[ $2 == --to && $3 =~ ^[0-9]+$ ]] || die 64 "usage: migrate DATABASE [--to NUMBER]"; upto=$((10#$3)) ;;
    *) die 64 "usage: migrate DATABASE [--to NUMBER]" ;;
esac
db=$1

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=on --dbname "$db" "$@"; }

sql >/dev/null <<'SQL' || die 1 "$db cannot be used"
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('schema_migrations'));
SET LOCAL client_min_messages = error;
CREATE TABLE IF NOT EXISTS schema_migrations (number bigint NOT NULL, name text NOT NULL);
SELECT count(*) = 0 AS wide FROM information_schema.columns
WHERE table_name = 'schema_migrations' AND column_name = 'number' AND data_type <> 'bigint' \gset
\if :wide
\else
ALTER TABLE schema_migrations ALTER number TYPE bigint;
\endif
COMMIT;
SQL

[ -d "$dir" ] || die 1 "there is no folder $dir"
declare -A files=()
for path in "$dir"/*; do
    file=${path##*/}
    if [[ -f $path && $file =~ ^0*([0-9]+)_.*\.sql$ ]]; then
        number=${BASH_REMATCH[1]}
        [[ -n $upto && $number -gt $upto ]] || files[$number]=$file
    fi
done
mapfile -t numbers < <((( ${#files[@]} )) && printf '%s\n' "${!files[@]}" | sort -n)
for number in ${numbers[@]+"${numbers[@]}"}; do
    file=${files[$number]}
    sql --set n="$number" --set name="$file" --set path="$dir/$file" --file - <<'SQL' || die 1 "$file: failed"
BEGIN ISOLATION LEVEL READ COMMITTED;
LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE;
SELECT count(*) > 0 AS done FROM schema_migrations WHERE number = :n \gset
\if :done
\q
\endif
INSERT INTO schema_migrations VALUES (:n, :'name');
\i :path
COMMIT;
\echo applied :name
SQL
done
EOF
chmod 755 bin/migrate
cat > migrations/3_rejected_bookings.sql <<'EOF'
LOCK TABLE bookings, guests IN ACCESS EXCLUSIVE MODE;

CREATE TABLE rejected_bookings (LIKE bookings INCLUDING ALL);
ALTER TABLE rejected_bookings
    ALTER created_at DROP DEFAULT,
    ADD reason text NOT NULL,
    ADD blocked_by integer,
    ADD guests text[] NOT NULL DEFAULT '{}';

-- Walk through the bookings in their order, with the kept ones of the room at hand as arrays.
CREATE FUNCTION sift_bookings() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    b record;
    room integer;
    ids integer[];
    ranges tstzrange[];
    blocker integer;
BEGIN
    FOR b IN
        SELECT o.*, o.starts AT TIME ZONE r.zone AS lo, o.ends AT TIME ZONE r.zone AS hi
        FROM bookings o JOIN rooms r ON r.id = o.room_id
        WHERE o.status <> 'cancelled'
        ORDER BY o.room_id, o.created_at, o.id
    LOOP
        IF room IS DISTINCT FROM b.room_id THEN
            room := b.room_id;
            ids := '{}';
            ranges := '{}';
        END IF;
        IF b.hi > b.lo THEN
            SELECT k.id INTO blocker
            FROM unnest(ids, ranges) WITH ORDINALITY AS k (id, range, nr)
            WHERE k.range && tstzrange(b.lo, b.hi)
            ORDER BY k.nr LIMIT 1;
            IF NOT FOUND THEN
                ids := ids || b.id;
                ranges := ranges || tstzrange(b.lo, b.hi);
                CONTINUE;
            END IF;
        ELSE
            blocker := NULL;
        END IF;
        INSERT INTO rejected_bookings
        VALUES (b.id, b.room_id, b.booked_by, b.status, b.starts, b.ends, b.created_at,
                CASE WHEN b.hi > b.lo THEN 'overlap' ELSE 'empty' END, blocker,
                ARRAY(SELECT g.email FROM guests g WHERE g.booking_id = b.id ORDER BY g.email));
    END LOOP;
END
$$;
SELECT sift_bookings();
DROP FUNCTION sift_bookings();

DELETE FROM guests USING rejected_bookings r WHERE guests.booking_id = r.id;
DELETE FROM bookings USING rejected_bookings r WHERE bookings.id = r.id;
EOF
cat > migrations/4_during.sql <<'EOF'
CREATE FUNCTION moments_between(starts timestamp, ends timestamp, zone text) RETURNS tstzrange LANGUAGE sql AS $$
    SELECT CASE WHEN starts AT TIME ZONE zone < ends AT TIME ZONE zone
                THEN tstzrange(starts AT TIME ZONE zone, ends AT TIME ZONE zone)
                ELSE 'empty'::tstzrange END
$$;
ALTER TABLE bookings ADD during tstzrange;
UPDATE bookings SET during = moments_between(starts, ends, (SELECT zone FROM rooms WHERE rooms.id = room_id));
DROP FUNCTION moments_between(timestamp, timestamp, text);
ALTER TABLE bookings ALTER during SET NOT NULL;
ALTER TABLE bookings DROP starts;
ALTER TABLE bookings DROP ends;
ALTER TABLE bookings ADD CONSTRAINT during_empty CHECK (NOT isempty(during) OR status = 'cancelled');
-- the room as a range of one number, so that no extension is needed
ALTER TABLE bookings ADD CONSTRAINT during_overlap
    EXCLUDE USING gist (int8range(room_id, room_id::bigint + 1) WITH =, during WITH &&) WHERE (status <> 'cancelled');
EOF
