//! What the cluster says: whom containers belong to.

mod connection;
pub mod directory;

pub use connection::Cluster;
pub use directory::Directory;
