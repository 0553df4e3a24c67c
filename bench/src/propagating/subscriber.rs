//! The least that a gateway would have to do with a change that it is sent: read the artifact, make
//! its plan, swap it in, and answer requests by it.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use artifact::Artifact;
use synapse::xml::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What answers, by the API's name: the plan, and the text of its endpoint, which is the answer.
type Routes = HashMap<String, Route>;
type Route = (Arc<synapse::Plan>, Arc<str>);

/// A subscriber that serves.
#[derive(Debug)]
pub struct Subscriber {
    pub port: u16,
}

impl Subscriber {
    /// Serves these artifacts, and those that come instead of them.
    ///
    /// # Errors
    /// When one of the first cannot be compiled.
    pub async fn start(
        first: &[String],
        mut values: mpsc::Receiver<Vec<u8>>,
    ) -> anyhow::Result<Self> {
        let mut routes = Routes::new();
        for text in first {
            let (name, route) = route(text)?;
            routes.insert(name, route);
        }
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let served = Arc::clone(&routes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        tokio::spawn(async move {
            while let Some(value) = values.recv().await {
                let text = String::from_utf8_lossy(&value);
                if let Ok((name, route)) = route(&text) {
                    let mut changed = Routes::clone(&routes.load());
                    changed.insert(name, route);
                    routes.store(Arc::new(changed));
                }
            }
        });
        Ok(Self { port })
    }
}

fn route(text: &str) -> anyhow::Result<(String, Route)> {
    let artifact = Artifact::parse(text)?;
    let plan = synapse::compile(&artifact, &Limits::default()).plan;
    let plan = plan.with_context(|| format!("{} is refused", artifact.name))?;
    let endpoint = artifact.endpoint_entries_to_be_add.first();
    let endpoint = endpoint.map_or("", |endpoint| &endpoint.content);
    Ok((artifact.name, (plan, endpoint.into())))
}

/// Answers GETs of `/NAME/…`, one after the other; each request is one piece on the loopback.
async fn serve(mut stream: TcpStream, routes: Arc<ArcSwap<Routes>>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let request = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        let name = request.split('/').nth(1).unwrap_or_default();
        let routes = routes.load();
        let (status, body) = match routes.get(name) {
            Some((_, body)) => ("200 OK", &**body),
            None => ("404 Not Found", ""),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
}
