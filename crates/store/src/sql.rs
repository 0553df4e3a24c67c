//! The catalog of SQL text: every statement by name, columns always named. Written in the words
//! that all three databases share; what differs is in [`crate::dialect`].

use crate::tx::{Table, There};

// Saving: what has to be known.

pub(crate) const APIS_BY_ID: &str =
    "SELECT API_ID, REVISION, DIGEST, INSTRUCTION FROM LS_API WHERE API_ID IN (??)";
pub(crate) const PUBLISHED_BY_NAME: &str = "SELECT API_NAME, API_VERSION, TENANT_DOMAIN, API_ID FROM LS_API \
     WHERE INSTRUCTION = 'Publish' AND API_NAME IN (??)";
pub(crate) const ROUTE_OWNERS: &str = "SELECT r.ROUTE, r.API_ID, a.API_NAME, a.API_VERSION \
     FROM LS_ROUTE r JOIN LS_API a ON a.API_ID = r.API_ID WHERE r.ROUTE IN (??)";
pub(crate) const ROUTES_OF_APIS: &str =
    "SELECT API_ID, ROUTE FROM LS_ROUTE WHERE API_ID IN (??) ORDER BY API_ID, POSITION";
pub(crate) const LABELS_OF_APIS: &str = "SELECT API_ID, GATEWAY_LABEL, INSTRUCTION, DIGEST, \
     SEQ, REVISION FROM LS_LABEL_LOG WHERE DC = ? AND API_ID IN (??)";
pub(crate) const NEWEST_ARTIFACT: &str =
    "SELECT ARTIFACT FROM LS_REVISION WHERE API_ID = ? AND REVISION = ?";

// Saving: what is written.

pub(crate) const LEAVE_TOKEN: &str = "UPDATE LS_WRITER SET SAVES = ?, TOKENS = ? WHERE ID = 1";

pub(crate) const DETAILS: Table = Table {
    name: "AM_GW_PUBLISHED_API_DETAILS",
    columns: &[
        "API_ID",
        "TENANT_DOMAIN",
        "API_PROVIDER",
        "API_NAME",
        "API_VERSION",
    ],
    keys: 1,
    there: There::Replace,
};
pub(crate) const ARTIFACTS: Table = Table {
    name: "AM_GW_API_ARTIFACTS",
    columns: &["GATEWAY_LABEL", "API_ID", "ARTIFACT", "GATEWAY_INSTRUCTION"],
    keys: 2,
    there: There::Replace,
};
pub(crate) const API: Table = Table {
    name: "LS_API",
    columns: &[
        "API_ID",
        "API_NAME",
        "API_VERSION",
        "TENANT_DOMAIN",
        "INSTRUCTION",
        "REVISION",
        "DIGEST",
        "DC",
        "SAVED",
    ],
    keys: 1,
    there: There::Replace,
};
pub(crate) const ROUTE: Table = Table {
    name: "LS_ROUTE",
    columns: &["API_ID", "POSITION", "ROUTE"],
    keys: 2,
    there: There::Never,
};
pub(crate) const FORGET_ROUTES: &str = "DELETE FROM LS_ROUTE WHERE API_ID IN (??)";
pub(crate) const REVISION: Table = Table {
    name: "LS_REVISION",
    columns: &[
        "API_ID",
        "REVISION",
        "DC",
        "INSTRUCTION",
        "DIGEST",
        "ARTIFACT",
        "SAVED",
    ],
    keys: 2,
    there: There::Never,
};
pub(crate) const PRUNE_REVISIONS: &str = "DELETE FROM LS_REVISION WHERE REVISION <= (SELECT a.REVISION FROM LS_API a \
     WHERE a.API_ID = LS_REVISION.API_ID) - ? AND NOT EXISTS (SELECT 1 FROM LS_LABEL_LOG l \
     WHERE l.API_ID = LS_REVISION.API_ID AND l.REVISION = LS_REVISION.REVISION) AND API_ID IN (??)";
pub(crate) const SEQUENCE: Table = Table {
    name: "LS_LABEL_SEQUENCE",
    columns: &["DC", "GATEWAY_LABEL", "SEQ"],
    keys: 2,
    there: There::Replace,
};
pub(crate) const LOG_ENTRY: Table = Table {
    name: "LS_LABEL_LOG",
    columns: &[
        "DC",
        "GATEWAY_LABEL",
        "API_ID",
        "SEQ",
        "INSTRUCTION",
        "REVISION",
        "DIGEST",
        "SAVED",
    ],
    keys: 3,
    there: There::Replace,
};
pub(crate) const OUTBOX: Table = Table {
    name: "LS_OUTBOX",
    columns: &["API_ID", "ANNOUNCEMENT", "SAVED"],
    keys: 0,
    there: There::Never,
};

// The label log.

pub(crate) const LABEL_SEQS: &str = "SELECT GATEWAY_LABEL, SEQ FROM LS_LABEL_SEQUENCE WHERE DC = ?";
pub(crate) const LOG_AFTER: &str = "SELECT l.SEQ, l.API_ID, l.INSTRUCTION, l.REVISION, l.DIGEST, \
     l.SAVED, a.API_NAME, a.API_VERSION, a.TENANT_DOMAIN, COALESCE(LENGTH(r.ARTIFACT), 0) AS BYTES \
     FROM LS_LABEL_LOG l \
     JOIN LS_API a ON a.API_ID = l.API_ID \
     LEFT JOIN LS_REVISION r ON r.API_ID = l.API_ID AND r.REVISION = l.REVISION \
     WHERE l.DC = ? AND l.GATEWAY_LABEL = ? AND l.SEQ > ? ORDER BY l.SEQ";
pub(crate) const ARTIFACTS_OF: &str =
    "SELECT API_ID, REVISION, ARTIFACT FROM LS_REVISION WHERE (API_ID = ? AND REVISION = ?)";

// The outbox.

pub(crate) const CLAIM_OUTBOX: &str = "UPDATE LS_OUTBOX SET CLAIMED_UNTIL = ? WHERE ID IN (??)";
pub(crate) const GIVE_BACK_OUTBOX: &str =
    "UPDATE LS_OUTBOX SET CLAIMED_UNTIL = ? WHERE CLAIMED_UNTIL = ? AND ID IN (??)";
pub(crate) const ANNOUNCED: Table = Table {
    name: "LS_ANNOUNCED",
    columns: &["API_ID", "DIGEST", "ANNOUNCED"],
    keys: 1,
    there: There::Replace,
};
pub(crate) const DELETE_OUTBOX: &str = "DELETE FROM LS_OUTBOX WHERE ID IN (??)";
pub(crate) const OUTBOX_LENGTH: &str = "SELECT COUNT(*) FROM LS_OUTBOX";

// Gateways.

/// One that has started.
pub(crate) const GATEWAY_STARTED: Table = Table {
    name: "LS_GATEWAY",
    columns: GATEWAY_COLUMNS,
    keys: 1,
    there: There::Replace,
};
/// One that is there still.
pub(crate) const GATEWAY_SEEN: Table = Table {
    name: "LS_GATEWAY",
    columns: GATEWAY_COLUMNS,
    keys: 1,
    there: There::ReplaceBut(&["REGISTERED"]),
};
const GATEWAY_COLUMNS: &[&str] = &[
    "GATEWAY_ID",
    "LABELS",
    "URLS",
    "TENANTS",
    "PROPERTIES",
    "APPLIED",
    "REGISTERED",
    "LAST_SEEN",
];
pub(crate) const DEPLOYMENT: Table = Table {
    name: "LS_DEPLOYMENT",
    columns: &[
        "GATEWAY_ID",
        "API_ID",
        "REVISION",
        "RECEIVED",
        "DEPLOYED",
        "STATE",
        "REASON",
        "SINCE",
    ],
    keys: 2,
    there: There::ReplaceUnlessOlder("SINCE"),
};
pub(crate) const FORGET_GATEWAYS: &str = "DELETE FROM LS_GATEWAY WHERE GATEWAY_ID IN (??)";
pub(crate) const FORGET_DEPLOYMENTS: &str = "DELETE FROM LS_DEPLOYMENT WHERE GATEWAY_ID IN (??)";
pub(crate) const GATEWAYS_THESE: &str = "SELECT GATEWAY_ID, LABELS, URLS, TENANTS, PROPERTIES, \
     APPLIED, REGISTERED, LAST_SEEN FROM LS_GATEWAY WHERE GATEWAY_ID IN (??)";
pub(crate) const GATEWAYS: &str = "SELECT GATEWAY_ID, LABELS, URLS, TENANTS, PROPERTIES, APPLIED, \
     REGISTERED, LAST_SEEN FROM LS_GATEWAY ORDER BY GATEWAY_ID";

// Repairs that operators have accepted.

pub(crate) const ACCEPTED_REPAIR: Table = Table {
    name: "LS_ACCEPTED_REPAIR",
    columns: &["GATEWAY_ID", "REPAIR", "SINCE", "ACCEPTED_BY", "ACCEPTED"],
    keys: 2,
    there: There::Replace,
};
pub(crate) const ACCEPTED_REPAIRS: &str = "SELECT GATEWAY_ID, REPAIR, SINCE, ACCEPTED_BY, ACCEPTED \
     FROM LS_ACCEPTED_REPAIR WHERE GATEWAY_ID IN (??) ORDER BY GATEWAY_ID, REPAIR";
pub(crate) const FORGET_ACCEPTED_REPAIRS: &str =
    "DELETE FROM LS_ACCEPTED_REPAIR WHERE GATEWAY_ID IN (??)";
pub(crate) const PRUNE_ACCEPTED_REPAIRS: &str = "DELETE FROM LS_ACCEPTED_REPAIR WHERE ACCEPTED < ?";

// The truth.

pub(crate) const DEPLOYMENTS_OF_APIS: &str = "SELECT GATEWAY_ID, API_ID, REVISION, RECEIVED, \
     DEPLOYED, STATE, REASON, SINCE FROM LS_DEPLOYMENT WHERE API_ID IN (??)";
macro_rules! apis {
    ($which:literal) => {
        concat!(
            "SELECT a.API_ID, COALESCE(r.ROUTE, ''), a.INSTRUCTION, a.REVISION, a.DIGEST, a.SAVED, \
             a.API_NAME, a.API_VERSION, a.TENANT_DOMAIN, s.DIGEST, s.ANNOUNCED \
             FROM LS_API a LEFT JOIN LS_ROUTE r ON r.API_ID = a.API_ID AND r.POSITION = 0 \
             LEFT JOIN LS_ANNOUNCED s ON s.API_ID = a.API_ID ",
            $which
        )
    };
}
pub(crate) const APIS_THESE: &str =
    apis!("WHERE a.API_ID IN (??) ORDER BY a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID");
pub(crate) const APIS_FIRST: &str =
    apis!("ORDER BY a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID LIMIT ?");
pub(crate) const APIS_BEHIND: &str = apis!(
    "WHERE (a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID) > \
     (SELECT b.TENANT_DOMAIN, b.API_NAME, b.API_VERSION, b.API_ID FROM LS_API b WHERE b.API_ID = ?) \
     ORDER BY a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID LIMIT ?"
);
/// Those of a name, of a tenant, published to a label; an empty text is any. Behind the one with an
/// id, from the start without one.
pub(crate) const APIS_MATCHING: &str = apis!(
    "WHERE (? = '' OR a.API_NAME = ?) AND (? = '' OR a.TENANT_DOMAIN = ?) \
     AND (? = '' OR EXISTS (SELECT 1 FROM LS_LABEL_LOG l WHERE l.DC = ? AND l.GATEWAY_LABEL = ? \
     AND l.API_ID = a.API_ID AND l.INSTRUCTION = 'Publish')) \
     AND (? = '' OR (a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID) > \
     (SELECT b.TENANT_DOMAIN, b.API_NAME, b.API_VERSION, b.API_ID FROM LS_API b WHERE b.API_ID = ?)) \
     ORDER BY a.TENANT_DOMAIN, a.API_NAME, a.API_VERSION, a.API_ID LIMIT ?"
);
pub(crate) const REVISIONS: &str = "SELECT REVISION, INSTRUCTION, DIGEST, LENGTH(ARTIFACT), SAVED \
     FROM LS_REVISION WHERE API_ID = ? ORDER BY REVISION DESC";
pub(crate) const API_COUNT: &str = "SELECT COUNT(*) FROM LS_API";

// The schema.

pub(crate) const SCHEMA_VERSION: &str = "SELECT COALESCE(MAX(VERSION), 0) FROM LS_SCHEMA";
