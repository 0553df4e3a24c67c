-- What gateways tell of themselves, and when each API was last announced.

-- Made anew: every gateway writes its row again with its next heartbeat. LABELS, URLS and TENANTS are
-- JSON lists; PROPERTIES is a JSON object; APPLIED a JSON object of label log positions by label.
DROP TABLE IF EXISTS LS_GATEWAY;
CREATE TABLE IF NOT EXISTS LS_GATEWAY (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    LABELS     LONGTEXT NOT NULL,
    URLS       LONGTEXT NOT NULL,
    TENANTS    LONGTEXT NOT NULL,
    PROPERTIES LONGTEXT NOT NULL,
    APPLIED    LONGTEXT NOT NULL,
    REGISTERED BIGINT       NOT NULL,
    LAST_SEEN  BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The newest announcement of each API that the broker has confirmed.
CREATE TABLE IF NOT EXISTS LS_ANNOUNCED (
    API_ID    VARCHAR(255) NOT NULL,
    DIGEST    VARCHAR(64)  NOT NULL,
    ANNOUNCED BIGINT       NOT NULL,
    PRIMARY KEY (API_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is said about one API is looked up.
-- As IF NOT EXISTS, which MySQL does not know here.
SET @make = IF(
    (SELECT COUNT(*) FROM information_schema.statistics WHERE TABLE_SCHEMA = DATABASE()
        AND TABLE_NAME = 'LS_DEPLOYMENT' AND INDEX_NAME = 'LS_DEPLOYMENT_API') = 0,
    'CREATE INDEX LS_DEPLOYMENT_API ON LS_DEPLOYMENT (API_ID)', 'DO 0');
PREPARE make_index FROM @make;
EXECUTE make_index;
DEALLOCATE PREPARE make_index;

INSERT IGNORE INTO LS_SCHEMA (VERSION, APPLIED) VALUES (3, UNIX_TIMESTAMP() * 1000);
