-- Lockstep's tables for MySQL and MariaDB. The programs apply this file; it can be run by hand as
-- well, and again after it was cut off. It starts with number 2: a schema version means the same on
-- every database. Texts compare byte by byte, so that labels may differ in case alone.

-- The two tables of WSO2 API Manager 3.2.0, with its names, columns and keys. Those that are there
-- already are left as they are.
CREATE TABLE IF NOT EXISTS AM_GW_PUBLISHED_API_DETAILS (
    API_ID        VARCHAR(255) NOT NULL,
    TENANT_DOMAIN VARCHAR(255),
    API_PROVIDER  VARCHAR(255),
    API_NAME      VARCHAR(255),
    API_VERSION   VARCHAR(255),
    PRIMARY KEY (API_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS AM_GW_API_ARTIFACTS (
    API_ID              VARCHAR(255) NOT NULL,
    ARTIFACT            LONGBLOB,
    GATEWAY_INSTRUCTION VARCHAR(20),
    GATEWAY_LABEL       VARCHAR(255),
    TIME_STAMP          TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (GATEWAY_LABEL, API_ID),
    FOREIGN KEY (API_ID) REFERENCES AM_GW_PUBLISHED_API_DETAILS (API_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The newest state of each API.
CREATE TABLE IF NOT EXISTS LS_API (
    API_ID        VARCHAR(255) NOT NULL,
    API_NAME      VARCHAR(255) NOT NULL,
    API_VERSION   VARCHAR(255) NOT NULL,
    TENANT_DOMAIN VARCHAR(255) NOT NULL,
    INSTRUCTION   VARCHAR(20)  NOT NULL,
    REVISION      BIGINT       NOT NULL,
    DIGEST        VARCHAR(64)  NOT NULL,
    DC            VARCHAR(64)  NOT NULL,
    SAVED         BIGINT       NOT NULL,
    PRIMARY KEY (API_ID),
    KEY LS_API_NAME (API_NAME)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The routes that published APIs claim: resolved context, and the version behind a blank where the
-- version is matched in the URL. POSITION 0 is the API's own, 1 that of the version-less API.
CREATE TABLE IF NOT EXISTS LS_ROUTE (
    API_ID   VARCHAR(255)  NOT NULL,
    POSITION BIGINT        NOT NULL,
    ROUTE    VARCHAR(1300) NOT NULL,
    PRIMARY KEY (API_ID, POSITION),
    KEY LS_ROUTE_ROUTE (ROUTE(255))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Saved states, the last few of each API.
CREATE TABLE IF NOT EXISTS LS_REVISION (
    API_ID      VARCHAR(255) NOT NULL,
    REVISION    BIGINT       NOT NULL,
    DC          VARCHAR(64)  NOT NULL,
    INSTRUCTION VARCHAR(20)  NOT NULL,
    DIGEST      VARCHAR(64)  NOT NULL,
    ARTIFACT    LONGBLOB NOT NULL,
    SAVED       BIGINT       NOT NULL,
    PRIMARY KEY (API_ID, REVISION)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Newest position of each label log.
CREATE TABLE IF NOT EXISTS LS_LABEL_SEQUENCE (
    DC            VARCHAR(64)  NOT NULL,
    GATEWAY_LABEL VARCHAR(255) NOT NULL,
    SEQ           BIGINT       NOT NULL,
    PRIMARY KEY (DC, GATEWAY_LABEL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row. Who saves locks it until the commit: that is what makes positions follow the commits
-- without a gap, and what keeps two publishers from claiming one route at once. Each save counts in
-- SAVES and leaves its token with those of the saves before it, by which one whose commit got no
-- answer finds out whether it took place.
CREATE TABLE IF NOT EXISTS LS_WRITER (
    ID     BIGINT NOT NULL,
    SAVES  BIGINT NOT NULL,
    TOKENS LONGTEXT NOT NULL,
    PRIMARY KEY (ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO LS_WRITER (ID, SAVES, TOKENS) VALUES (1, 0, '');

-- The label logs, compacted to the newest entry of each API.
CREATE TABLE IF NOT EXISTS LS_LABEL_LOG (
    DC            VARCHAR(64)  NOT NULL,
    GATEWAY_LABEL VARCHAR(255) NOT NULL,
    API_ID        VARCHAR(255) NOT NULL,
    SEQ           BIGINT       NOT NULL,
    INSTRUCTION   VARCHAR(20)  NOT NULL,
    REVISION      BIGINT       NOT NULL,
    DIGEST        VARCHAR(64)  NOT NULL,
    SAVED         BIGINT       NOT NULL,
    PRIMARY KEY (DC, GATEWAY_LABEL, API_ID),
    UNIQUE KEY LS_LABEL_LOG_SEQ (DC, GATEWAY_LABEL, SEQ),
    KEY LS_LABEL_LOG_API (API_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is still to be announced. Written in the transaction that saves, emptied by the relay.
CREATE TABLE IF NOT EXISTS LS_OUTBOX (
    ID            BIGINT NOT NULL AUTO_INCREMENT,
    API_ID        VARCHAR(255) NOT NULL,
    ANNOUNCEMENT  LONGTEXT NOT NULL,
    SAVED         BIGINT       NOT NULL,
    CLAIMED_UNTIL BIGINT       NOT NULL DEFAULT 0,
    PRIMARY KEY (ID),
    KEY LS_OUTBOX_API (API_ID, ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Gateways that have registered, and what each said about each API.
CREATE TABLE IF NOT EXISTS LS_GATEWAY (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    LABELS     LONGTEXT NOT NULL,
    URLS       LONGTEXT NOT NULL,
    REGISTERED BIGINT       NOT NULL,
    LAST_SEEN  BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS LS_DEPLOYMENT (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    API_ID     VARCHAR(255) NOT NULL,
    REVISION   BIGINT       NOT NULL,
    RECEIVED   VARCHAR(64)  NOT NULL,
    DEPLOYED   VARCHAR(64),
    STATE      VARCHAR(20)  NOT NULL,
    REASON     LONGTEXT,
    SINCE      BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID, API_ID)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which scripts have been applied. The last statement, so that a script that was cut off is
-- applied again.
CREATE TABLE IF NOT EXISTS LS_SCHEMA (
    VERSION BIGINT NOT NULL,
    APPLIED BIGINT NOT NULL,
    PRIMARY KEY (VERSION)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO LS_SCHEMA (VERSION, APPLIED) VALUES (2, UNIX_TIMESTAMP() * 1000);
