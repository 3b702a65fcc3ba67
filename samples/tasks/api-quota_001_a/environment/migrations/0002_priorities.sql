ALTER TABLE jobs
    ADD COLUMN priority int NOT NULL DEFAULT 0,
    ADD COLUMN run_at double precision NOT NULL DEFAULT 0,
    ADD COLUMN max_attempts int NOT NULL DEFAULT 3;
CREATE INDEX jobs_finished ON jobs (finished_at);
