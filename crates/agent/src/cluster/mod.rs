//! What the cluster says: whom containers belong to, and which policies there are.

mod connection;
pub mod directory;
mod policies;

pub use connection::Cluster;
pub use directory::Directory;
pub use policies::Policies;
