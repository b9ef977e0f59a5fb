//! The gRPC API.
