//! `/v1/policies`

use std::sync::Arc;

use api::tetragon::{ListTracingPoliciesResponse, TracingPolicyStatus};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use policy::checked::Mode;
use policy::{CheckedPolicy, PolicyKey};
use serde::Deserialize;

use super::{Failure, Http, json, status_only};
use crate::policies::{AddError, ChangeError, HTTP, Origin, Store, Text};
use crate::server::policies::{TEXT, change as change_policy, key, named};
use crate::server::sensors::blocking;

/// Largest text that is taken, in bytes.
const MAX_SIZE: usize = 16 << 20;

/// Which policy, or in which domain.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Where {
    domain: String,
    namespace: String,
}

type Asked = Result<Query<Where>, QueryRejection>;

fn asked(asked: Asked) -> Result<Where, Failure> {
    let wrong = |error: QueryRejection| Failure::new(StatusCode::BAD_REQUEST, error.body_text());
    asked.map(|Query(place)| place).map_err(wrong)
}

/// All policies, or those of a domain or namespace.
pub(super) async fn list(State(http): State<Arc<Http>>, place: Asked) -> Result<Response, Failure> {
    let Where { domain, namespace } = asked(place)?;
    let store = Arc::clone(&http.policies);
    let list = move || store.list(Some(domain.as_str()).filter(|domain| !domain.is_empty()));
    let mut policies = blocking(list).await?;
    policies.retain(|status| namespace.is_empty() || status.namespace == namespace);
    Ok(json(StatusCode::OK, &ListTracingPoliciesResponse { policies }))
}

/// One policy. A domain that is not given may be any, if only one has it.
pub(super) async fn show(
    State(http): State<Arc<Http>>,
    Path(name): Path<String>,
    place: Asked,
) -> Result<Response, Failure> {
    let Where { domain, namespace } = asked(place)?;
    let store = Arc::clone(&http.policies);
    let mut found = blocking(move || {
        let mut list = store.list(Some(domain.as_str()).filter(|domain| !domain.is_empty()));
        list.retain(|status| status.name == name && status.namespace == namespace);
        list
    })
    .await?;
    match (found.pop(), found.is_empty()) {
        (Some(status), true) => Ok(json(StatusCode::OK, &status)),
        (Some(_), false) => {
            let text = "there are several policies of that name: say which with ?domain=";
            Err(Failure::new(StatusCode::CONFLICT, text))
        }
        (None, _) => Err(Failure::new(StatusCode::NOT_FOUND, "there is no such policy")),
    }
}

/// Adds the policy that the body holds.
pub(super) async fn add(
    State(http): State<Arc<Http>>,
    place: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (domain, Sent { text, bent }) = (asked(place)?.domain, sent(&headers, body).await?);
    let store = Arc::clone(&http.policies);
    let added = blocking(move || {
        let key = store.add(named(&domain, HTTP), &text)?;
        Ok::<_, AddError>((status(&store, &key), key))
    });
    let (status, key) = added.await?.map_err(|error| refused(error, bent))?;
    Ok(created(StatusCode::CREATED, &key, status.as_ref()))
}

/// Has the policy be as the body says, whether there was one of that name or not.
pub(super) async fn put(
    State(http): State<Arc<Http>>,
    Path(name): Path<String>,
    place: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Where { domain, namespace } = asked(place)?;
    let Sent { text, bent } = sent(&headers, body).await?;
    let asked = key(name, namespace, &domain, HTTP);
    let found = CheckedPolicy::read(&text.file, &text.text)
        .map_err(|problems| refused(AddError::Refused(problems), bent))?
        .key(&asked.domain);
    if found.name != asked.name || ![&found.namespace, ""].contains(&asked.namespace.as_str()) {
        let text = format!(
            "the text is that of policy {:?} in namespace {:?}, not of {:?} in {:?}",
            found.name, found.namespace, asked.name, asked.namespace
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, text));
    }
    let store = Arc::clone(&http.policies);
    let put = blocking(move || {
        let existed = status(&store, &found).is_some();
        let key = store.put(&found.domain, &text)?;
        Ok::<_, AddError>((existed, status(&store, &key), key))
    });
    let (existed, status, key) = put.await?.map_err(|error| refused(error, bent))?;
    let code = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(created(code, &key, status.as_ref()))
}

/// What is to be changed of a policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    mode: Option<NewMode>,
    #[serde(default)]
    enable: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewMode {
    #[serde(alias = "TP_MODE_ENFORCE")]
    Enforce,
    #[serde(alias = "TP_MODE_MONITOR")]
    Monitor,
}

/// Changes the mode of a policy, or whether it is in force.
pub(super) async fn change(
    State(http): State<Arc<Http>>,
    Path(name): Path<String>,
    place: Asked,
    body: Body,
) -> Result<Response, Failure> {
    let Where { domain, namespace } = asked(place)?;
    let body = read(body).await?;
    let wanted = "{\"mode\": \"enforce\" or \"monitor\", \"enable\": true or false} is wanted";
    let wrong = |text: String| Failure::new(StatusCode::BAD_REQUEST, format!("{text}; {wanted}"));
    let Change { mode, enable } =
        serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
    let mode = mode.map(|mode| match mode {
        NewMode::Enforce => Mode::Enforce,
        NewMode::Monitor => Mode::Monitor,
    });
    let (store, key) = (Arc::clone(&http.policies), key(name, namespace, &domain, HTTP));
    let changed = blocking(move || {
        change_policy(&store, &key, mode, enable)?;
        Ok::<_, Option<ChangeError>>(status(&store, &key))
    });
    match changed.await? {
        Ok(Some(status)) => Ok(json(StatusCode::OK, &status)),
        Ok(None) => Ok(status_only(StatusCode::NO_CONTENT)),
        Err(Some(error)) => Err(Failure::from(error)),
        Err(None) => Err(wrong("nothing is asked for".to_owned())),
    }
}

/// Deletes a policy.
pub(super) async fn delete(
    State(http): State<Arc<Http>>,
    Path(name): Path<String>,
    place: Asked,
) -> Result<Response, Failure> {
    let Where { domain, namespace } = asked(place)?;
    let (store, key) = (Arc::clone(&http.policies), key(name, namespace, &domain, HTTP));
    blocking(move || store.delete(&key)).await??;
    Ok(status_only(StatusCode::NO_CONTENT))
}

/// What the list says of a policy; it may be gone already.
fn status(store: &Store, key: &PolicyKey) -> Option<TracingPolicyStatus> {
    let mut list = store.list(Some(&key.domain));
    list.retain(|status| status.name == key.name && status.namespace == key.namespace);
    list.pop()
}

fn created(status: StatusCode, key: &PolicyKey, policy: Option<&TracingPolicyStatus>) -> Response {
    let mut response = json(status, &policy.cloned().unwrap_or_default());
    let PolicyKey { domain, namespace, name } = key;
    // Names and namespaces are DNS names; a domain can be any text.
    let domain: String = domain.bytes().map(escaped).collect();
    let mut place = format!("/v1/policies/{name}?domain={domain}");
    if !namespace.is_empty() {
        place.push_str("&namespace=");
        place.push_str(namespace);
    }
    if let Ok(place) = header::HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, Failure> {
    axum::body::to_bytes(body, MAX_SIZE).await.map_err(|_| {
        let text = format!("the body cannot be read, or has more than {MAX_SIZE} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    })
}

/// A text that a client sent.
struct Sent {
    text: Text,
    /// It looks as if the client had taken the ends of lines out of it.
    bent: bool,
}

async fn sent(headers: &HeaderMap, body: Body) -> Result<Sent, Failure> {
    let wrong = |text: &str| Failure::new(StatusCode::BAD_REQUEST, text);
    let body = read(body).await?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| wrong("the body is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(wrong("the body is empty: a policy in YAML or JSON is wanted"));
    }
    let form = headers.get(header::CONTENT_TYPE);
    let form = form.is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let bent = form && !text.contains('\n') && !text.starts_with('{');
    Ok(Sent { text: Text::new(Origin::Http, TEXT, text), bent })
}

fn refused(error: AddError, bent: bool) -> Failure {
    let failure = Failure::from(error);
    match bent {
        true => failure.hint("\nthe text has no ends of lines: curl keeps them with --data-binary"),
        false => failure,
    }
}
