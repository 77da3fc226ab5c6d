-- Run once, when the database is new.
CREATE TABLE requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    requested_at timestamptz NOT NULL DEFAULT now(),
    served_by text NOT NULL,
    client text NOT NULL,
    path text NOT NULL
);
