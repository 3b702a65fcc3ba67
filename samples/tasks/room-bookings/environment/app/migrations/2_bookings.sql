CREATE TABLE bookings (
    id integer PRIMARY KEY,
    room_id integer NOT NULL REFERENCES rooms,
    booked_by text NOT NULL,
    status text NOT NULL CHECK (status IN ('tentative', 'confirmed', 'cancelled')),
    starts timestamp NOT NULL,      -- by the building's clock
    ends timestamp NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE guests (
    booking_id integer NOT NULL REFERENCES bookings,
    email text NOT NULL,
    PRIMARY KEY (booking_id, email)
);
