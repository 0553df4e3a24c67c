//! Dispatch: from a request head to one API and one of its resources.
//!
//! Everything here is decided from data already in memory: no I/O, no clock, no panics on any input.
//! [`RouteTable`] picks the API, [`ApiRoute::choose_resource`] picks the resource inside it,
//! [`UriTemplate`] and [`UrlMapping`] are the two kinds of pattern a resource can carry, and
//! [`EndpointTemplate`] turns the variables they yield into a backend address.

pub mod percent;
pub mod query;
pub mod resource;
pub mod route;
pub mod table;
pub mod uri_expression;
pub mod uri_template;
pub mod url_mapping;

pub use query::{QueryError, query_parameters};
pub use resource::{
    DEFAULT_BINDING, Election, MethodSet, ResourceOutcome, ResourcePattern, ResourceRoute,
    RouteError, Transports, UserAgentPattern, choose_resource, elect_resource,
};
pub use route::{ApiRoute, VersionStrategy};
pub use table::{RequestHead, RouteTable, Selected, Selection};
pub use uri_expression::{EndpointTemplate, UriExpression, UriExpressionError};
pub use uri_template::{TemplateMatch, UriTemplate, UriTemplateError};
pub use url_mapping::UrlMapping;
