//! A real client against it.

#![allow(clippy::unwrap_used)] // as in tests, also in their helpers

use std::time::Duration;

use apiserver::Server;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, Config};
use serde_json::json;

async fn pods(server: &Server) -> Api<Pod> {
    let config = Config::new(server.url().parse().unwrap());
    Api::namespaced(Client::try_from(config).unwrap(), "default")
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": "here", "containers": []},
    }))
    .unwrap()
}

#[tokio::test]
async fn objects_come_and_go() {
    let server = Server::start().await.unwrap();
    let pods = pods(&server).await;
    let created = pods.create(&PostParams::default(), &pod("a")).await.unwrap();
    assert!(created.metadata.uid.is_some());
    let twice = pods.create(&PostParams::default(), &pod("a")).await.unwrap_err();
    assert!(matches!(twice, kube::Error::Api(status) if status.code == 409));
    let labels = json!({"metadata": {"labels": {"x": "1"}}});
    let patched = pods.patch("a", &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
    assert_eq!(patched.metadata.labels.unwrap().len(), 2);
    let stale = pods.replace("a", &PostParams::default(), &created).await.unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.reason == "Conflict"));
    for number in 0..5 {
        pods.create(&PostParams::default(), &pod(&format!("p{number}"))).await.unwrap();
    }
    let page = pods.list(&ListParams::default().limit(4)).await.unwrap();
    let token = page.metadata.continue_.unwrap();
    let rest = pods.list(&ListParams::default().limit(4).continue_token(&token)).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (4, 2));
    let one = pods.list(&ListParams::default().labels("app=p3")).await.unwrap();
    assert_eq!(one.items.len(), 1);
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
    let nowhere = Api::<Pod>::all(pods.into_client());
    let fields = ListParams::default().fields("spec.nodeName=elsewhere");
    assert!(nowhere.list(&fields).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn watches_live_through_troubles() {
    let server = Server::start().await.unwrap();
    let pods = pods(&server).await;
    let path = "/api/v1/namespaces/default/pods";
    server.put(path, &serde_json::to_value(pod("first")).unwrap());
    let config = watcher::Config::default().page_size(1);
    let stream = watcher::watcher(pods, config).filter_map(async |event| match event {
        Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
            Some(Ok(format!("+{}", pod.metadata.name.unwrap())))
        }
        Ok(watcher::Event::Delete(pod)) => Some(Ok(format!("-{}", pod.metadata.name.unwrap()))),
        // They are tried again.
        Err(_) | Ok(_) => None::<Result<String, ()>>,
    });
    let mut stream = std::pin::pin!(stream);
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.try_next());
        next.await.map_or_else(|_| "nothing".to_owned(), |event| event.unwrap().unwrap())
    };
    assert_eq!(next().await, "+first");
    server.put(path, &serde_json::to_value(pod("second")).unwrap());
    assert_eq!(next().await, "+second");
    server.disconnect();
    server.remove("/api/v1/namespaces/default/pods/first");
    assert_eq!(next().await, "-first");
    // All of it again after 410.
    server.forget_history();
    assert_eq!(next().await, "+second");
    server.fail_next(3, 500);
    server.disconnect();
    server.put(path, &serde_json::to_value(pod("third")).unwrap());
    assert_eq!(next().await, "+third");
}
