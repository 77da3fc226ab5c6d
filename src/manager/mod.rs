//! The gateway: one entry for requests to services in other containers, and the repair of those services.
//!
//! Begin with [`config::file`] (what a user writes) and [`gate`] (what the two halves know of each other: the gateway tells who is
//! well, recovery tells whose requests are to wait). Of the gateway, what decides is pure: [`filter`], [`router`], [`headers`], [`cors`],
//! [`upstream`]. What does is [`proxy`], from an accepted connection to the last byte of an answer.
//!
//! Of recovery, [`recovery`] decides (pure), [`repair`] does, [`reach`] is how svinit is spoken to, and [`guard`] stands in front of Docker's
//! socket. [`admin`] shows all of it to people, who are told what happens by [`news`].

pub mod access;
pub mod admin;
pub mod audit;
mod client;
pub mod config;
pub mod cors;
pub mod explain;
pub mod fault;
pub mod filter;
pub mod gate;
pub mod gateway;
pub mod guard;
pub mod headers;
pub mod journal;
pub mod leader;
pub mod listener;
pub mod mysql;
pub mod names;
pub mod news;
pub mod path;
pub mod probe;
pub mod proxy;
pub mod reach;
pub mod recovery;
pub mod relay;
pub mod repair;
pub mod router;
pub mod run;
pub mod service;
pub mod traffic;
pub mod upgrade;
pub mod upload;
pub mod upstream;
pub mod wire;
