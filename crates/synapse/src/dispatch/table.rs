//! The route table: which API gets a request.
//!
//! It is keyed by context, so a lookup costs one hash per context length that fits the path, however
//! many APIs there are. Requests read a copy of the table while the next one is made; copies share
//! all parts but those that differ, so a change costs what it changes, too.
//! Source of the rules: `AbstractApiHandler.dispatchToAPI`, `API.canProcess`,
//! `ApiUtils.matchApiPath`, `SynapseConfiguration.reconstructAPITable`.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::{SmallVec, smallvec};

use super::resource::{DEFAULT_BINDING, ResourceOutcome};
use super::route::{ApiRoute, VersionStrategy};

/// What of a request decides where it goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestHead<'a> {
    /// The verb, any text.
    pub method: &'a str,
    /// Path and query as received, not decoded.
    pub target: &'a str,
    /// The Host header.
    pub host: Option<&'a str>,
    /// Whether the request came by HTTPS.
    pub https: bool,
    /// The Content-Type header.
    pub content_type: Option<&'a str>,
    /// The User-Agent header.
    pub user_agent: Option<&'a str>,
    /// Whether the request has an entity body.
    pub has_body: bool,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Selection<'t, 'r, T> {
    /// An API takes it.
    Api(Selected<'t, 'r, T>),
    /// No API takes it, and at least one would have but for its transport (TRANSPORT_DENIED).
    TransportDenied,
    /// No API takes it: the main sequence answers.
    NotFound,
}

/// An API that takes a request.
#[derive(Debug)]
pub struct Selected<'t, 'r, T> {
    /// Its route.
    pub route: &'t ApiRoute,
    /// What was attached to it.
    pub attached: &'t T,
    /// REST_URL_POSTFIX: path and query after the context, and after the version of the url
    /// strategy.
    pub rest_url_postfix: &'r str,
    /// REST_SUB_REQUEST_PATH: the same, but `/` when there is nothing left.
    pub sub_path: &'r str,
    /// What the API does with the request.
    pub resource: ResourceOutcome,
}

/// The parts of a table; a copy shares those in which neither has changed since.
const SHARDS: usize = 256;

/// All APIs of a gateway by context. APIs of one context are asked in the order of what is attached
/// to them; equal ones in the order in which they came.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    shards: Vec<Arc<Shard<T>>>,
    hasher: DefaultHashBuilder,
    /// The lengths of all contexts, longest first, each with how many contexts have it.
    lengths: Vec<(usize, usize)>,
    len: usize,
}

/// Contexts by their hash.
type Shard<T> = HashTable<Arc<Context<T>>>;

/// The APIs that share a context.
#[derive(Debug, Clone)]
struct Context<T> {
    context: Arc<str>,
    apis: SmallVec<[Routed<T>; 1]>,
}

#[derive(Debug, Clone)]
struct Routed<T> {
    route: Arc<ApiRoute>,
    attached: T,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            shards: vec![Arc::default(); SHARDS],
            hasher: DefaultHashBuilder::default(),
            lengths: Vec::new(),
            len: 0,
        }
    }
}

impl<T> RouteTable<T> {
    /// How many APIs there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no API.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All APIs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ApiRoute>, &T)> {
        let contexts = self.shards.iter().flat_map(|shard| shard.iter());
        let apis = contexts.flat_map(|context| &context.apis);
        apis.map(|api| (&api.route, &api.attached))
    }

    /// The APIs whose context and version are those of `route`: requests cannot tell them apart but
    /// by host and transport.
    pub fn like(&self, route: &ApiRoute) -> impl Iterator<Item = &T> {
        let apis = self.context(route.context());
        let apis = apis.map_or(&[][..], |context| &context.apis).iter();
        let like = apis.filter(move |api| api.route.is_like(route));
        like.map(|api| &api.attached)
    }

    /// Where a request of an ordinary listener goes.
    pub fn select<'r>(&self, head: &RequestHead<'r>) -> Selection<'_, 'r, T> {
        self.select_for(head, DEFAULT_BINDING)
    }

    /// As [`RouteTable::select`], for a request that came in by the binding `caller`.
    ///
    /// APIs with a version strategy are asked first, then the others; within each the longest
    /// context first, and within one context in document order.
    pub fn select_for<'r>(&self, head: &RequestHead<'r>, caller: &str) -> Selection<'_, 'r, T> {
        let mut transport_denied = false;
        // The first unversioned API that fits, taken only when no versioned one does.
        let mut unversioned = None;
        for (context, rest) in self.contexts_of(head.target) {
            for api in &context.apis {
                let versioned = match api.route.version() {
                    VersionStrategy::None if unversioned.is_some() => continue,
                    VersionStrategy::None => false,
                    VersionStrategy::Context(_) => true,
                    VersionStrategy::Url(version) if url_version(rest) == Some(version) => true,
                    VersionStrategy::Url(_) => continue,
                };
                if !api.takes(head, &mut transport_denied) {
                    continue;
                }
                if versioned {
                    return api.selected(head, rest, caller);
                }
                unversioned = Some((api, rest));
            }
        }
        match unversioned {
            Some((api, rest)) => api.selected(head, rest, caller),
            None if transport_denied => Selection::TransportDenied,
            None => Selection::NotFound,
        }
    }

    /// The contexts `target` begins with, longest first, each with what follows it: nothing, or
    /// a text that begins with `/` or `?`.
    fn contexts_of<'r>(&self, target: &'r str) -> impl Iterator<Item = (&Context<T>, &'r str)> {
        self.lengths.iter().filter_map(move |(length, _)| {
            if !matches!(target.as_bytes().get(*length), None | Some(b'/' | b'?')) {
                return None;
            }
            let (prefix, rest) = target.split_at_checked(*length)?;
            Some((self.context(prefix)?, rest))
        })
    }

    fn context(&self, context: &str) -> Option<&Context<T>> {
        let hash = self.hasher.hash_one(context);
        let shard = self.shards.get(shard_of(hash))?;
        let found = shard.find(hash, |other| *other.context == *context)?;
        Some(found)
    }
}

/// Where a hash belongs; by other bits than those that a shard itself goes by.
fn shard_of(hash: u64) -> usize {
    let [.., bits, _, _] = hash.to_be_bytes();
    usize::from(bits)
}

/// The segment right after the context.
fn url_version(rest: &str) -> Option<&str> {
    rest.strip_prefix('/')?.split(['/', '?']).next()
}

impl<T: Clone + Ord> RouteTable<T> {
    /// A table of these APIs.
    pub fn new<R: Into<Arc<ApiRoute>>>(apis: impl IntoIterator<Item = (R, T)>) -> Self {
        let mut table = Self::default();
        for (route, attached) in apis {
            table.insert(route, attached);
        }
        table
    }

    /// Brings an API in.
    pub fn insert(&mut self, route: impl Into<Arc<ApiRoute>>, attached: T) {
        let route = route.into();
        let hash = self.hasher.hash_one(route.context());
        let Some(shard) = self.shards.get_mut(shard_of(hash)) else {
            return;
        };
        let shard = Arc::make_mut(shard);
        let same = |other: &Arc<Context<T>>| *other.context == *route.context();
        let again = |other: &Arc<Context<T>>| self.hasher.hash_one(&*other.context);
        match shard.entry(hash, same, again) {
            Entry::Occupied(mut context) => {
                let apis = &mut Arc::make_mut(context.get_mut()).apis;
                let at = apis.partition_point(|api| api.attached <= attached);
                apis.insert(at, Routed { route, attached });
            }
            Entry::Vacant(vacant) => {
                let context = Arc::clone(route.shared_context());
                let length = context.len();
                let apis = smallvec![Routed { route, attached }];
                vacant.insert(Arc::new(Context { context, apis }));
                let at = self.lengths.partition_point(|(longer, _)| *longer > length);
                match self.lengths.get_mut(at) {
                    Some((same, count)) if *same == length => *count += 1,
                    _ => self.lengths.insert(at, (length, 1)),
                }
            }
        }
        self.len += 1;
    }

    /// Takes an API away, by its route and what is attached to it.
    pub fn remove(&mut self, route: &ApiRoute, attached: &T) {
        let hash = self.hasher.hash_one(route.context());
        let Some(shard) = self.shards.get_mut(shard_of(hash)) else {
            return;
        };
        let same = |other: &Arc<Context<T>>| *other.context == *route.context();
        let Ok(mut found) = Arc::make_mut(shard).find_entry(hash, same) else {
            return;
        };
        let apis = &mut Arc::make_mut(found.get_mut()).apis;
        let Some(at) = apis.iter().position(|api| api.attached == *attached) else {
            return;
        };
        apis.remove(at);
        self.len -= 1;
        if apis.is_empty() {
            found.remove();
            let length = route.context().len();
            if let Some((_, count)) = self.lengths.iter_mut().find(|(len, _)| *len == length) {
                *count -= 1;
            }
            self.lengths.retain(|(_, count)| *count > 0);
        }
    }
}

impl<T> Routed<T> {
    /// Whether an API whose context and version fit also fits in host and transport.
    fn takes(&self, head: &RequestHead<'_>, transport_denied: &mut bool) -> bool {
        if !self.route.is_for_host(head) {
            return false;
        }
        let allowed = self.route.transports.allows(head.https);
        *transport_denied |= !allowed;
        allowed
    }

    fn selected<'r>(
        &self,
        head: &RequestHead<'r>,
        rest: &'r str,
        caller: &str,
    ) -> Selection<'_, 'r, T> {
        let Self { route, attached } = self;
        let rest_url_postfix = match &route.version() {
            VersionStrategy::Url(version) => rest.get(version.len() + 1..).unwrap_or_default(),
            VersionStrategy::None | VersionStrategy::Context(_) => rest,
        };
        let sub_path = match rest_url_postfix {
            "" => "/",
            postfix => postfix,
        };
        Selection::Api(Selected {
            route,
            attached,
            rest_url_postfix,
            sub_path,
            resource: route.choose_resource(head, sub_path, caller),
        })
    }
}

#[cfg(test)]
mod tests;
