-- Repairs that gateways hold and that operators have accepted.

-- REPAIR is the digest that names what the repair does, SINCE when the gateway has begun to hold it, by its
-- own clock: together they are what the operator saw. A row goes with its gateway, and after a day.
CREATE TABLE IF NOT EXISTS LS_ACCEPTED_REPAIR (
    GATEWAY_ID  VARCHAR(255) NOT NULL,
    REPAIR      VARCHAR(64)  NOT NULL,
    SINCE       BIGINT       NOT NULL,
    ACCEPTED_BY TEXT         NOT NULL,
    ACCEPTED    BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID, REPAIR)
);

INSERT OR IGNORE INTO LS_SCHEMA (VERSION, APPLIED) VALUES (4, CAST(strftime('%s', 'now') AS INTEGER) * 1000);
