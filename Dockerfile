# The image `svinit`: the executable and its links, and nothing else. Any image takes it with
#
#     COPY --from=svinit:local /usr/local/bin/ /usr/local/bin/
#
# Where the executable is built already, a directory that holds out/usr/local/bin/ stands in for the stage `build`, and
# neither a Rust image nor a registry is needed (`make images` does it so):
#
#     docker buildx build --build-context build=DIRECTORY --tag svinit:local .
# Without a registry, `make image-from-source` puts this machine's own Rust in the place of this image.
ARG RUST_IMAGE=rust:1.91-trixie

# What the executable is made of, and nothing else: a change of a test or of an image compiles nothing anew.
FROM scratch AS sources
COPY --chmod=0644 Cargo.toml Cargo.lock Makefile /
COPY --chmod=0755 .cargo/ /.cargo/
COPY --chmod=0755 schema/ /schema/
COPY --chmod=0644 docs/openapi.json docs/openapi-manager.json /docs/
COPY --chmod=0755 src/ /src/

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY --from=sources / ./
# What `make build` does, so that it is the same file. The links are made here: `scratch` has nothing to make them with.
# Cargo goes by times of files, and those of another checkout may be older than what an earlier build has left: hence touch.
# The secret is for who reaches crates by a mirror: a config.toml that names it (CARGO_CONFIG=FILE scripts/images).
RUN --mount=type=cache,id=svinit-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=svinit-target,target=/src/target,sharing=locked \
    --mount=type=secret,id=cargo-config,target=/usr/local/cargo/config.toml \
    mkdir -p /out/usr/local/bin && \
    touch src/lib.rs src/main.rs && \
    make release DESTDIR=/out PREFIX=/usr/local && \
    PATH=/nonexistent /out/usr/local/bin/svinit --link /out/usr/local/bin

FROM scratch AS svinit
LABEL org.opencontainers.image.title="svinit" \
      org.opencontainers.image.description="PID 1 for containers: supervises real services and repairs one of them without restarting the container"
COPY --from=build /out/ /
ENTRYPOINT ["/usr/local/bin/svinit"]
