# The image `svinit`: the executable and its links, and nothing else. Any image takes it with
#
#     COPY --from=svinit:local /usr/local/bin/ /usr/local/bin/
#
# Where the executable is built already, a directory that holds out/usr/local/bin/ stands in for the stage `build`, and
# neither a Rust image nor a registry is needed (`make images` does it so):
#
#     docker buildx build --build-context build=DIRECTORY --tag svinit:local .
ARG RUST_IMAGE=rust:1.91-trixie

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# What `make build` does, so that it is the same file. The links are made here: `scratch` has nothing to make them with.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    mkdir -p /out/usr/local/bin && \
    make release DESTDIR=/out PREFIX=/usr/local && \
    PATH=/nonexistent /out/usr/local/bin/svinit --link /out/usr/local/bin

FROM scratch AS svinit
LABEL org.opencontainers.image.title="svinit" \
      org.opencontainers.image.description="PID 1 for containers: supervises real services and repairs one of them without restarting the container"
COPY --from=build /out/ /
ENTRYPOINT ["/usr/local/bin/svinit"]
