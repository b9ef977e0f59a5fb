//! `tetra status`: is the agent healthy?

use api::tetragon::{GetHealthStatusRequest, HealthStatusType};

use crate::error::Error;
use crate::server::Server;

/// Its own words for its health, or `no status available`.
pub(crate) async fn run(server: &Server) -> Result<String, Error> {
    let request = GetHealthStatusRequest { event_set: vec![HealthStatusType::Status as i32] };
    let answer = server.call(async |client| client.get_health(request.clone()).await).await?;
    Ok(match answer.health_status.first() {
        Some(status) => format!("Health Status: {}\n", status.details),
        None => "no status available\n".to_owned(),
    })
}
