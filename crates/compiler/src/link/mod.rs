//! Linking by hook: all sections of all policies at one place are one program there.
//!
//! - [`place`]: places, and which of them a hook needs
//! - [`maps`]: the maps that all programs share
//! - [`attached`]: a program in place

pub(crate) mod attached;
pub(crate) mod maps;
pub(crate) mod place;

pub(crate) use attached::Attached;
pub(crate) use maps::SharedMaps;
pub(crate) use place::{Place, places};
