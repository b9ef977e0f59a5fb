//! Keeps web pages out.
//!
//! A browser sends what any page asks it to, also to `localhost`, where the agent listens by default. It
//! does not speak HTTP/2 without TLS, so gRPC was out of its reach; the HTTP API has to defend itself:
//! - what a page sends carries `Origin`, or `Sec-Fetch-Site` other than `none`: refused;
//! - a page whose own name was made to resolve to this machine (DNS rebinding) sends its own name as the
//!   host: over TCP without TLS only addresses, `localhost`, and the names that the agent goes by are
//!   answered. With TLS the certificate has the same effect;
//! - HTTP/1.1 does not reach the gRPC services.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use crate::config::Listen;
use crate::server::connection::Peer;

/// Names that the agent goes by.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// This machine's, and what the address is configured with.
    pub(super) fn of(listen: &Listen) -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut names = vec!["localhost".to_owned(), own];
        if let Listen::Tcp(address) = listen {
            names.push(address.host.clone());
        }
        names.retain(|name| !name.is_empty());
        Self(names)
    }

    /// Whether a request's host, with or without port, is an address or one of the names.
    fn know(&self, host: &str) -> bool {
        let without_port = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        without_port.parse::<IpAddr>().is_ok()
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(without_port))
    }
}

/// Lets requests pass that no web page can have sent.
pub(super) async fn guard(hosts: Arc<Hosts>, request: Request, next: Next) -> Response {
    match refusal(&hosts, &request) {
        Some(failure) => failure.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(hosts: &Hosts, request: &Request) -> Option<Failure> {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        let old = request.version() < Version::HTTP_2;
        return old.then(|| {
            let text = "the HTTP API is below /v1, see /v1/openapi.json; gRPC needs HTTP/2";
            Failure::new(StatusCode::NOT_FOUND, text)
        });
    }
    let refuse = |text: String| Some(Failure::new(StatusCode::FORBIDDEN, text));
    let headers = request.headers();
    let by_page = headers.get("sec-fetch-site").is_some_and(|site| site != "none");
    if headers.contains_key(header::ORIGIN) || by_page {
        return refuse("web pages are not answered".to_owned());
    }
    let plain_tcp = request.extensions().get::<Peer>().is_none_or(|peer| peer.plain_tcp);
    if !plain_tcp {
        return None;
    }
    let given = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = given.or(request.uri().authority().map(|authority| authority.as_str()));
    match host {
        Some(host) if hosts.know(host) => None,
        Some(host) => refuse(format!(
            "the agent does not go by the name {host:?}: use its address, or have it use TLS"
        )),
        None => refuse("the request names no host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TcpAddress;
    use axum::body::Body;

    /// Who asks, with which headers, and whether it is answered.
    type Case = (Option<Peer>, &'static [(&'static str, &'static str)], bool);

    fn answered(peer: Option<Peer>, uri: &str, headers: &[(&str, &str)]) -> bool {
        let address = TcpAddress { host: "agent.example".into(), port: 1 };
        let hosts = Hosts::of(&Listen::Tcp(address));
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        refusal(&hosts, &request).is_none()
    }

    #[test]
    fn pages_and_foreign_names_are_refused() {
        let plain = || Some(Peer { name: "p".into(), plain_tcp: true });
        let safe = || Some(Peer { name: "p".into(), plain_tcp: false });
        let table: &[Case] = &[
            (plain(), &[("host", "localhost:54321")], true),
            (plain(), &[("host", "127.0.0.1")], true),
            (plain(), &[("host", "[::1]:54321")], true),
            (plain(), &[("host", "Agent.Example:1")], true),
            (plain(), &[("host", "evil.example:54321")], false),
            (plain(), &[("host", "localhost.evil.example")], false),
            (plain(), &[], false),
            (None, &[("host", "evil.example")], false),
            (safe(), &[("host", "agent.cluster.example")], true),
            (safe(), &[("host", "x"), ("origin", "https://evil.example")], false),
            (plain(), &[("host", "localhost"), ("origin", "null")], false),
            (plain(), &[("host", "localhost"), ("sec-fetch-site", "cross-site")], false),
            (plain(), &[("host", "localhost"), ("sec-fetch-site", "none")], true),
        ];
        for (peer, headers, expected) in table {
            let got = answered(peer.clone(), "/v1/policies", headers);
            assert_eq!(got, *expected, "{headers:?}");
        }
        // gRPC is not to be had with HTTP/1.1.
        assert!(!answered(safe(), "/tetragon.FineGuidanceSensors/GetVersion", &[]));
    }
}
