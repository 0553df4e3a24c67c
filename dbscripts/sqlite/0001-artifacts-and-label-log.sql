-- Lockstep's tables for SQLite. The programs apply this file; it can be run by hand as well.

-- The two tables of WSO2 API Manager 3.2.0, with its names, columns and keys.
CREATE TABLE IF NOT EXISTS AM_GW_PUBLISHED_API_DETAILS (
    API_ID        VARCHAR(255) NOT NULL,
    TENANT_DOMAIN VARCHAR(255),
    API_PROVIDER  VARCHAR(255),
    API_NAME      VARCHAR(255),
    API_VERSION   VARCHAR(255),
    PRIMARY KEY (API_ID)
);

CREATE TABLE IF NOT EXISTS AM_GW_API_ARTIFACTS (
    API_ID              VARCHAR(255) NOT NULL,
    ARTIFACT            BLOB,
    GATEWAY_INSTRUCTION VARCHAR(20),
    GATEWAY_LABEL       VARCHAR(255),
    TIME_STAMP          TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (GATEWAY_LABEL, API_ID),
    FOREIGN KEY (API_ID) REFERENCES AM_GW_PUBLISHED_API_DETAILS (API_ID)
);

-- The newest state of each API.
CREATE TABLE LS_API (
    API_ID      VARCHAR(255) NOT NULL,
    INSTRUCTION VARCHAR(20)  NOT NULL,
    REVISION    BIGINT       NOT NULL,
    DIGEST      CHAR(64)     NOT NULL,
    DC          VARCHAR(64)  NOT NULL,
    SAVED       BIGINT       NOT NULL,
    PRIMARY KEY (API_ID)
);
CREATE INDEX LS_API_DETAILS_NAME ON AM_GW_PUBLISHED_API_DETAILS (API_NAME, API_VERSION, TENANT_DOMAIN);

-- The routes that published APIs claim: resolved context, and the version behind a blank where the
-- version is matched in the URL. POSITION 0 is the API's own, 1 that of the version-less API.
CREATE TABLE LS_ROUTE (
    API_ID   VARCHAR(255)  NOT NULL,
    POSITION BIGINT        NOT NULL,
    ROUTE    VARCHAR(1300) NOT NULL,
    PRIMARY KEY (API_ID, POSITION)
);
CREATE INDEX LS_ROUTE_ROUTE ON LS_ROUTE (ROUTE);

-- Saved states, the last few of each API.
CREATE TABLE LS_REVISION (
    API_ID      VARCHAR(255) NOT NULL,
    REVISION    BIGINT       NOT NULL,
    DC          VARCHAR(64)  NOT NULL,
    INSTRUCTION VARCHAR(20)  NOT NULL,
    DIGEST      CHAR(64)     NOT NULL,
    ARTIFACT    BLOB         NOT NULL,
    SAVED       BIGINT       NOT NULL,
    PRIMARY KEY (API_ID, REVISION)
);

-- Newest position of each label log. Its row is what makes writers of one label take turns.
CREATE TABLE LS_LABEL_SEQUENCE (
    DC            VARCHAR(64)  NOT NULL,
    GATEWAY_LABEL VARCHAR(255) NOT NULL,
    SEQ           BIGINT       NOT NULL,
    PRIMARY KEY (DC, GATEWAY_LABEL)
);

-- The label logs, compacted to the newest entry of each API.
CREATE TABLE LS_LABEL_LOG (
    DC            VARCHAR(64)  NOT NULL,
    GATEWAY_LABEL VARCHAR(255) NOT NULL,
    API_ID        VARCHAR(255) NOT NULL,
    SEQ           BIGINT       NOT NULL,
    INSTRUCTION   VARCHAR(20)  NOT NULL,
    REVISION      BIGINT       NOT NULL,
    DIGEST        CHAR(64)     NOT NULL,
    SAVED         BIGINT       NOT NULL,
    PRIMARY KEY (DC, GATEWAY_LABEL, API_ID),
    UNIQUE (DC, GATEWAY_LABEL, SEQ)
);
CREATE INDEX LS_LABEL_LOG_API ON LS_LABEL_LOG (API_ID);

-- What is still to be announced. Written in the transaction that saves, emptied by the relay.
CREATE TABLE LS_OUTBOX (
    ID            INTEGER PRIMARY KEY AUTOINCREMENT,
    API_ID        VARCHAR(255) NOT NULL,
    ANNOUNCEMENT  TEXT         NOT NULL,
    SAVED         BIGINT       NOT NULL,
    CLAIMED_UNTIL BIGINT       NOT NULL DEFAULT 0
);

-- Gateways that have registered, and what each said about each API.
CREATE TABLE LS_GATEWAY (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    LABELS     TEXT         NOT NULL,
    URLS       TEXT         NOT NULL,
    REGISTERED BIGINT       NOT NULL,
    LAST_SEEN  BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID)
);

CREATE TABLE LS_DEPLOYMENT (
    GATEWAY_ID VARCHAR(255) NOT NULL,
    API_ID     VARCHAR(255) NOT NULL,
    REVISION   BIGINT       NOT NULL,
    RECEIVED   CHAR(64)     NOT NULL,
    DEPLOYED   CHAR(64),
    STATE      VARCHAR(20)  NOT NULL,
    REASON     TEXT,
    SINCE      BIGINT       NOT NULL,
    PRIMARY KEY (GATEWAY_ID, API_ID)
);

CREATE TABLE LS_SCHEMA (
    VERSION BIGINT NOT NULL,
    APPLIED BIGINT NOT NULL,
    PRIMARY KEY (VERSION)
);
