//! Conventions of Dockerfiles and compose files.
