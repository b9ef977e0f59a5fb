//! Serves objects from files of JSON until it is ended: for trying things by hand, also with kubectl.
//!
//!     cargo run -p apiserver --example serve -- /tmp/kubeconfig pods.json...
//!
//! A file holds an object per line: `{"path": "/api/v1/namespaces/shop/pods", "object": {...}}`. Files are read
//! again each second, so that what is written to them changes what is served.

use std::collections::HashMap;
use std::time::Duration;

use apiserver::Server;
use serde_json::Value;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(kubeconfig) = arguments.next() else {
        eprintln!("usage: serve KUBECONFIG [FILE...]");
        std::process::exit(2);
    };
    let files: Vec<String> = arguments.collect();
    let server = Server::start().await?;
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    println!("{}", server.url());
    let mut served: HashMap<String, Value> = HashMap::new();
    loop {
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let entry: Value = serde_json::from_str(line).map_err(std::io::Error::other)?;
                let path = entry["path"].as_str().unwrap_or_default();
                let key = format!("{path} {}", entry["object"]["metadata"]["name"]);
                if served.get(&key) != Some(&entry) {
                    server.put(path, &entry["object"]);
                    served.insert(key, entry.clone());
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
