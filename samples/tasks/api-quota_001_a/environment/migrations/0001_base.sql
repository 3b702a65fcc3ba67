CREATE TABLE tenants (
    name text PRIMARY KEY,
    max_running int NOT NULL,
    starts_limit int NOT NULL,
    window_s double precision NOT NULL,
    weight double precision NOT NULL DEFAULT 1
);
CREATE TABLE jobs (
    id bigserial PRIMARY KEY,
    tenant text NOT NULL REFERENCES tenants (name),
    payload jsonb,
    state text NOT NULL DEFAULT 'waiting',
    attempts int NOT NULL DEFAULT 0,
    worker text,
    lease_until double precision,
    started_at double precision,
    finished_at double precision
);
CREATE INDEX jobs_state ON jobs (state);
