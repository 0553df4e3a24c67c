//! Which API has which route, and who has to stay out.

use std::collections::{HashMap, HashSet};

use sqlx::{Row, Sqlite, Transaction};

use crate::save::published_by_name;
use crate::{Save, SaveOutcome, StoreError, sql};

/// Puts the routes of an API in the place of those that it had.
pub(crate) async fn write(
    tx: &mut Transaction<'_, Sqlite>,
    api_id: &str,
    routes: &[String],
) -> Result<(), StoreError> {
    sqlx::query(sql::FORGET_ROUTES)
        .bind(api_id)
        .execute(&mut **tx)
        .await?;
    for (position, route) in (0_i64..).zip(routes) {
        sqlx::query(sql::INSERT_ROUTE)
            .bind(api_id)
            .bind(position)
            .bind(route)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Which saves of a batch are refused, by their index: what counts is who has which route once
/// the batch is saved, so APIs of one batch may exchange routes.
pub(crate) async fn refusals(
    tx: &mut Transaction<'_, Sqlite>,
    batch: &[Save],
) -> Result<HashMap<usize, SaveOutcome>, StoreError> {
    let mut refused = HashMap::new();
    let mut owners: HashMap<String, Vec<Owner>> = HashMap::new();
    let mut before: HashMap<&str, Vec<String>> = HashMap::new();
    let mut names: HashMap<(&str, &str, &str), &str> = HashMap::new();
    for (index, save) in batch.iter().enumerate() {
        let artifact = &save.artifact;
        let name = (
            artifact.name.as_str(),
            artifact.version.as_str(),
            artifact.tenant_domain.as_str(),
        );
        let first = *names.entry(name).or_insert(&artifact.api_id);
        if first != artifact.api_id {
            let api_id = first.to_owned();
            refused.insert(index, SaveOutcome::NameTaken { api_id });
        }
        let named = published_by_name(
            tx,
            &artifact.name,
            &artifact.version,
            &artifact.tenant_domain,
            &artifact.api_id,
        )
        .await?;
        if let Some(api_id) = named {
            refused.insert(index, SaveOutcome::NameTaken { api_id });
        }
        for route in &save.routes {
            owners.insert(route.clone(), owners_of(tx, route).await?);
        }
        let rows = sqlx::query(sql::ROUTES_OF_API)
            .bind(&artifact.api_id)
            .fetch_all(&mut **tx)
            .await?;
        let routes = rows.iter().map(|row| row.try_get(0));
        before.insert(&artifact.api_id, routes.collect::<Result<_, _>>()?);
    }
    // Each round refuses those that clash with what stays; a refused one stays where it was.
    while let Some((index, outcome)) = clash(batch, &refused, &owners, &before) {
        refused.insert(index, outcome);
    }
    Ok(refused)
}

#[derive(Clone, Debug)]
struct Owner {
    api_id: String,
    /// Name, version and id, for people.
    shown: String,
}

async fn owners_of(
    tx: &mut Transaction<'_, Sqlite>,
    route: &str,
) -> Result<Vec<Owner>, StoreError> {
    let rows = sqlx::query(sql::ROUTE_OWNERS)
        .bind(route)
        .fetch_all(&mut **tx)
        .await?;
    rows.iter()
        .map(|row| {
            let api_id: String = row.try_get(0)?;
            let (name, version): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
            Ok(Owner {
                shown: format!("{name} {version} (id {api_id})"),
                api_id,
            })
        })
        .collect()
}

/// The first save that cannot have its routes, given who is refused already.
fn clash(
    batch: &[Save],
    refused: &HashMap<usize, SaveOutcome>,
    owners: &HashMap<String, Vec<Owner>>,
    before: &HashMap<&str, Vec<String>>,
) -> Option<(usize, SaveOutcome)> {
    let coming = || {
        batch
            .iter()
            .enumerate()
            .filter(|(at, _)| !refused.contains_key(at))
    };
    let moving: HashSet<&str> = coming()
        .map(|(_, save)| save.artifact.api_id.as_str())
        .collect();
    // Routes of batch members that stay where they are, and of members that have come in.
    let mut taken: HashMap<&str, &Save> = HashMap::new();
    for (at, save) in batch.iter().enumerate() {
        if refused.contains_key(&at) {
            let routes = before.get(save.artifact.api_id.as_str());
            taken.extend(
                routes
                    .into_iter()
                    .flatten()
                    .map(|route| (route.as_str(), save)),
            );
        }
    }
    for (at, save) in coming() {
        for route in &save.routes {
            let stays = owners
                .get(route)
                .into_iter()
                .flatten()
                .find(|owner| !moving.contains(owner.api_id.as_str()));
            let by = match (stays, taken.get(route.as_str())) {
                (Some(owner), _) => owner.shown.clone(),
                (None, Some(other)) if other.artifact.api_id != save.artifact.api_id => {
                    let other = &other.artifact;
                    format!("{} {} (id {})", other.name, other.version, other.api_id)
                }
                (None, _) => continue,
            };
            let route = route.clone();
            return Some((at, SaveOutcome::RouteTaken { route, by }));
        }
        taken.extend(save.routes.iter().map(|route| (route.as_str(), save)));
    }
    None
}
