//! The tetragon agent.
