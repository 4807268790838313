//! The sockets of the port: by which names it may be asked, how long a client may take, and who makes way for the next.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header, uri::Authority};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::engine::{Line, Shared};

/// Serves connections for as long as the node lives.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, router: Router) {
    let (mut clients, failed) = (Clients::default(), Line::<1>::default());
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                let client = clients.take_in();
                let router = router.clone();
                shared.spawn(async move {
                    tokio::select! {
                        () = client.end.cancelled() => {}
                        () = serve_connection(connection, router, &client.asked) => {}
                    }
                    client.end.cancel();
                });
            }
            // Out of file descriptors, say: it passes, and until then no time is to be lost in a loop.
            Err(error) => {
                if let Some(unsaid) = failed.next() {
                    tracing::warn!(node = %shared.name, %error, unsaid, "the port for operators cannot accept");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(connection: TcpStream, router: Router, asked: &Arc<AtomicBool>) {
    let asked = Arc::clone(asked);
    let noted = router.layer(from_fn(move |request: Request, next: Next| {
        asked.store(true, Ordering::Relaxed);
        next.run(request)
    }));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).keep_alive(false);
    let served = http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(noted));
    // What a client breaks off or never finishes is its own matter.
    let _ = tokio::time::timeout(REQUEST_LIMIT, served).await;
}

/// Those who are connected, the oldest first.
#[derive(Default)]
struct Clients(VecDeque<Arc<Client>>);

#[derive(Default)]
struct Client {
    /// Its request has come.
    asked: Arc<AtomicBool>,
    /// It is gone, or is to go.
    end: CancellationToken,
}

impl Clients {
    /// One more. Where there is no room, the oldest that has not asked yet makes way, or the oldest of all.
    fn take_in(&mut self) -> Arc<Client> {
        self.0.retain(|client| !client.end.is_cancelled());
        if self.0.len() >= CONNECTIONS_MAX {
            let idle = self.0.iter().position(|client| !client.asked.load(Ordering::Relaxed));
            if let Some(oldest) = self.0.remove(idle.unwrap_or_default()) {
                oldest.end.cancel();
            }
        }
        let client = Arc::new(Client::default());
        self.0.push_back(Arc::clone(&client));
        client
    }
}

/// Refuses who asks by another name: a web page could otherwise read the port in its visitor's browser, under a name of
/// its own that it lets point here.
pub(super) async fn by_known_name(own: Arc<str>, hosts: Arc<[String]>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    match named {
        Some(named) if !is_known(named, &own, &hosts) => {
            let text =
                "the port is asked by an IP address, as localhost, by the node's name, or by one of admin.hosts\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Whether a `Host` is an IP address, `localhost`, the node's name or one below it, or one of those given.
fn is_known(named: &str, own: &str, hosts: &[String]) -> bool {
    let Ok(authority) = named.parse::<Authority>() else { return false };
    let host = authority.host().to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let below_own = || host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || below_own()
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(&host))
}

/// Connections that are served at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of its request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How long a request may take in all, its answer's way included.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_10_s_at_most_whatever_its_answer_waits_for() {
        let pending = || async { std::future::pending::<StatusCode>().await };
        let router = Router::new().route("/never", get(pending)).route("/now", get(|| async { StatusCode::OK }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        for (path, seconds) in [("/never", 10), ("/now", 0)] {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            let (served, _) = listener.accept().await.expect("it has come");
            let (began, asked) = (Instant::now(), Arc::default());
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            let serving = serve_connection(served, router.clone(), &asked);
            let (_, read) = tokio::join!(serving, client.read_to_string(&mut answer));
            read.expect("it is closed in good order");
            assert_eq!((began.elapsed().as_secs(), answer.contains("200 OK")), (seconds, seconds == 0), "{path}");
            assert!(asked.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn the_oldest_that_has_not_asked_makes_way_and_else_the_oldest() {
        let mut clients = Clients::default();
        let all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| clients.take_in()).collect();
        let gone =
            || all.iter().enumerate().filter(|(_, of)| of.end.is_cancelled()).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(gone(), [0; 0]);
        all[0].asked.store(true, Ordering::Relaxed);
        clients.take_in().asked.store(true, Ordering::Relaxed);
        assert_eq!(gone(), [1], "the first is being answered");
        all.iter().for_each(|client| client.asked.store(true, Ordering::Relaxed));
        clients.take_in();
        assert_eq!(gone(), [0, 1]);
        all[5].end.cancel();
        clients.take_in();
        assert_eq!(gone(), [0, 1, 5], "one that has gone has left its place");
    }

    #[test]
    fn a_name_that_is_not_the_ports_is_refused() {
        let hosts = ["ops.example".to_owned()];
        for named in [
            "127.0.0.1",
            "127.0.0.1:9100",
            "[::1]:9100",
            "10.1.2.3",
            "localhost:9100",
            "LOCALHOST",
            "n1",
            "n1:9100",
            "n1.rexi.svc.cluster.local:9100",
            "ops.example:80",
            "OPS.example",
        ] {
            assert!(is_known(named, "n1", &hosts), "{named}");
        }
        for named in
            ["evil.example", "n11", "xn1", "127.0.0.1.evil.example", "a b", "", "n1.evil.example/", "localhost."]
        {
            assert!(!is_known(named, "n1", &hosts), "{named}");
        }
    }
}
