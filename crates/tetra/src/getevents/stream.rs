//! Events from the agent.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::tetragon::{GetEventsRequest, GetEventsResponse};
use tonic::{Status, Streaming};

use super::Consumer;
use crate::error::Error;
use crate::output::complain;
use crate::server::Server;

/// Hands over the agent's events until it goes away or the reader does. With `again`, waits that long
/// and connects anew each time that the agent cannot be reached or goes away.
pub(super) async fn run(
    server: &Server,
    request: GetEventsRequest,
    again: Option<Duration>,
    mut sink: impl Consumer,
) -> Result<(), Error> {
    loop {
        let error = match once(server, &request, &mut sink).await {
            Err(Error::OutputClosed) | Ok(()) => return Err(Error::OutputClosed),
            Err(error @ Error::Write(_)) => return Err(error),
            Err(error) => error,
        };
        let Some(wait) = again else { return Err(error) };
        complain(&format!("getevents: err:{error} retrying in {wait:?}"));
        tokio::time::sleep(wait).await;
    }
}

async fn once(
    server: &Server,
    request: &GetEventsRequest,
    sink: &mut impl Consumer,
) -> Result<(), Error> {
    let mut events = server.call(async |client| client.get_events(request.clone()).await).await?;
    loop {
        match next(&mut events, sink).await? {
            Ok(Some(event)) => sink.put(&event)?,
            Ok(None) => {
                sink.flush()?;
                return Err(server.went_away(None));
            }
            Err(status) => {
                sink.flush()?;
                return Err(server.went_away(Some(&status)));
            }
        }
    }
}

/// The next event. When there is none yet, what was collected is written out before the wait.
async fn next(
    events: &mut Streaming<GetEventsResponse>,
    sink: &mut impl Consumer,
) -> Result<Result<Option<GetEventsResponse>, Status>, Error> {
    let mut message = pin!(events.message());
    if let Poll::Ready(event) = poll_once(message.as_mut()) {
        return Ok(event);
    }
    sink.flush()?;
    Ok(message.await)
}

/// Asks without leaving word for when it is ready: whoever does this awaits it next.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
