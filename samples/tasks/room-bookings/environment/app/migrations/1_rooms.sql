CREATE TABLE rooms (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    zone text NOT NULL              -- of the building's clock: 'Europe/London'
);
