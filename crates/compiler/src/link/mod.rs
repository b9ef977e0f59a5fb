//! Linking by hook: all sections of all policies at one place are one program there, or a few.
//!
//! - [`place`]: places, and which of them a hook needs
//! - [`pack`]: which sections share a program
//! - [`attached`]: a program for a place
//! - [`head`]: what hangs at a place and leads to its programs
//! - [`blame`]: whose fault an error is
//! - [`pages`]: what brings in the memory that programs read
//! - [`programs`]: the programs of all places, and their exchange at one instant
//! - [`grace`]: waiting for programs that run
//! - [`maps`]: the maps that all programs share

pub(crate) mod attached;
mod blame;
mod grace;
mod head;
#[cfg(test)]
mod many_tests;
pub(crate) mod maps;
mod pack;
mod pages;
pub(crate) mod place;
mod programs;

pub(crate) use attached::Attached;
pub(crate) use head::Head;
pub(crate) use maps::SharedMaps;
pub(crate) use pack::pack;
pub(crate) use pages::Pages;
pub(crate) use place::{Place, enforcer_places, places};
pub(crate) use programs::Programs;
