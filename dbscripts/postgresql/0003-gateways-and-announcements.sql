-- What gateways tell of themselves, and when each API was last announced.

-- Made anew: every gateway writes its row again with its next heartbeat. LABELS, URLS and TENANTS are
-- JSON lists; PROPERTIES is a JSON object; APPLIED a JSON object of label log positions by label.
DROP TABLE IF EXISTS LS_GATEWAY;
CREATE TABLE IF NOT EXISTS LS_GATEWAY (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    LABELS     TEXT NOT NULL,
    URLS       TEXT NOT NULL,
    TENANTS    TEXT NOT NULL,
    PROPERTIES TEXT NOT NULL,
    APPLIED    TEXT NOT NULL,
    REGISTERED BIGINT       NOT NULL,
    LAST_SEEN  BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID)
);

-- The newest announcement of each API that the broker has confirmed.
CREATE TABLE IF NOT EXISTS LS_ANNOUNCED (
    API_ID    VARCHAR(255) NOT NULL,
    DIGEST    VARCHAR(64)  NOT NULL,
    ANNOUNCED BIGINT       NOT NULL,
    PRIMARY KEY (API_ID)
);

-- What is said about one API is looked up.
CREATE INDEX IF NOT EXISTS LS_DEPLOYMENT_API ON LS_DEPLOYMENT (API_ID);

INSERT INTO LS_SCHEMA (VERSION, APPLIED)
    VALUES (3, CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000 AS BIGINT))
    ON CONFLICT (VERSION) DO NOTHING;
