//! What a message's body holds, for mediators that look into it: XML with namespaces, JSON, and
//! one as the other.

mod charset;
mod convert;
mod document;
mod edit;
mod envelope;
mod form;
pub(crate) mod json;
mod limits;

pub(crate) use charset::{is_foreign, text_of, without_foreign};
pub(crate) use convert::{json_of, xml_of};
pub(crate) use document::{Document, Name, NodeId, NodeKind};
pub(crate) use edit::{Edit, Place};
pub(crate) use envelope::{Envelope, SOAP_11, SOAP_12};
pub(crate) use form::{fields_of, form_of, unnamable};
pub(crate) use limits::{JsonLimits, XmlLimits};
