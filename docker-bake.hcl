# Builds every image, each once and in order: what an image starts from is the target of that name, not what a registry has.
#
#   make images                       builds svinit first, or leaves that to Docker where cargo is missing
#   docker buildx bake nginx          one image and what it starts from
variable "SVINIT_TAG" {
  default = "local"
}

# A directory that stands in for the stage `build` of ./Dockerfile; empty: Docker builds svinit itself.
variable "SVINIT_PREBUILT" {
  default = ""
}

# Has Rust, for that stage.
variable "RUST_IMAGE" {
  default = "rust:1.91-trixie"
}

# A file for cargo in that stage, such as one that names a mirror of crates; it does not stay in the image.
variable "CARGO_CONFIG" {
  default = ""
}

# debian:trixie-slim or another release of it, or ubuntu:24.04; with a digest: debian:trixie-slim@sha256:...
variable "BASE" {
  default = "debian:trixie-slim"
}

# What of Debian's tools, and Node, is only looked at while building: the stages node and shell.
variable "BUILD_BASE" {
  default = "debian:trixie-slim"
}

# What only Debian unstable has.
variable "SID_BASE" {
  default = "debian:sid-slim"
}

# For a registry, which scripts/images then pushes to: before each tag, such as registry.example/team/
variable "REGISTRY" {
  default = ""
}

# linux/amd64,linux/arm64; empty: that of the engine.
variable "PLATFORMS" {
  default = ""
}

# 1: with a list of all packages (SBOM) and of how it was built (provenance).
variable "ATTEST" {
  default = ""
}

variable "VERSION" {
  default = "0.1.0"
}

variable "REVISION" {
  default = "unknown"
}

# The address of the repository.
variable "SOURCE" {
  default = "unknown"
}

# When that revision was committed: the same sources make the same image.
variable "CREATED" {
  default = "1970-01-01T00:00:00Z"
}

# Of PostgreSQL; empty: the one that BASE has.
variable "PG_MAJOR" {
  default = ""
}

# Whose server images/grafana copies.
variable "GRAFANA_IMAGE" {
  default = "grafana/grafana:11.1.0-ubuntu"
}

# What starts from another image than base.
variable "PARENTS" {
  default = {
    frontend = "nginx"
    lb       = "nginx"
    monolith = "app"
    mysql    = "base-sid"
    patroni  = "postgres"
  }
}

group "default" {
  targets = ["svinit", "base", "image", "app-image", "manager-image", "frontend-dev"]
}

# What differs from commit to commit is said here and not in a Dockerfile, where it would make every step below it anew.
target "common" {
  context   = "."
  platforms = PLATFORMS == "" ? [] : split(",", PLATFORMS)
  attest    = ATTEST == "" ? [] : ["type=sbom", "type=provenance,mode=max"]
  labels = {
    "org.opencontainers.image.source"   = SOURCE
    "org.opencontainers.image.licenses" = "Apache-2.0 OR MIT"
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.created"  = CREATED
  }
}

target "svinit" {
  inherits   = ["common"]
  dockerfile = "Dockerfile"
  contexts   = SVINIT_PREBUILT == "" ? {} : { build = SVINIT_PREBUILT }
  args       = SVINIT_PREBUILT == "" ? { RUST_IMAGE = RUST_IMAGE } : {}
  secret     = CARGO_CONFIG == "" ? [] : ["type=file,id=cargo-config,src=${CARGO_CONFIG}"]
  tags       = ["${REGISTRY}svinit:${SVINIT_TAG}"]
}

target "base" {
  inherits   = ["common"]
  dockerfile = "images/base/Dockerfile"
  contexts = {
    "svinit:local" = "target:svinit"
  }
  args = {
    BASE = BASE
  }
  tags = ["${REGISTRY}svinit/base:${SVINIT_TAG}"]
}

target "base-sid" {
  inherits = ["base"]
  args = {
    BASE = SID_BASE
  }
  tags = ["${REGISTRY}svinit/base-sid:${SVINIT_TAG}"]
}

# images/NAME/Dockerfile: `AS image`, and `AS rootless` with a numeric USER. A new directory is a new word here.
target "image" {
  name     = variant == "image" ? name : "${name}-${variant}"
  inherits = ["common"]
  matrix = {
    name    = ["nginx", "postgres", "flask", "lb", "backend", "frontend", "mysql", "mariadb", "monolith", "redis", "redis-demo", "redis-exporter", "prometheus", "etcd", "haproxy", "patroni"]
    variant = ["image", "rootless"]
  }
  dockerfile = "images/${name}/Dockerfile"
  target     = variant
  args       = lookup({ postgres = { PG_MAJOR = PG_MAJOR }, frontend = { NODE_BASE = BUILD_BASE } }, name, {})
  contexts = {
    "svinit/${lookup(PARENTS, name, "base")}:local" = "target:${lookup(PARENTS, name, "base")}"
  }
  tags = ["${REGISTRY}svinit/${name}:${SVINIT_TAG}${variant == "image" ? "" : "-rootless"}"]
}

# The two halves come from one image each.
target "app-image" {
  name     = variant == "image" ? "app" : "app-${variant}"
  inherits = ["common"]
  matrix = {
    variant = ["image", "rootless"]
  }
  dockerfile = "images/app/Dockerfile"
  target     = variant
  contexts = {
    "svinit/frontend:local" = "target:frontend"
    "svinit/backend:local"  = "target:backend"
  }
  tags = ["${REGISTRY}svinit/app:${SVINIT_TAG}${variant == "image" ? "" : "-rootless"}"]
}

# From nothing but svinit and a shell.
target "manager-image" {
  name     = variant == "image" ? "manager" : "manager-${variant}"
  inherits = ["common"]
  matrix = {
    variant = ["image", "rootless"]
  }
  dockerfile = "images/manager/Dockerfile"
  target     = variant
  args       = { SHELL_BASE = BUILD_BASE }
  contexts = {
    "svinit:local" = "target:svinit"
  }
  tags = ["${REGISTRY}svinit/manager:${SVINIT_TAG}${variant == "image" ? "" : "-rootless"}"]
}

# Only a registry has the image that it copies from: built when it is named, and else not.
target "grafana-image" {
  name     = variant == "image" ? "grafana" : "grafana-${variant}"
  inherits = ["common"]
  matrix = {
    variant = ["image", "rootless"]
  }
  dockerfile = "images/grafana/Dockerfile"
  target     = variant
  args = {
    GRAFANA_IMAGE = GRAFANA_IMAGE
  }
  contexts = {
    "svinit/base:local" = "target:base"
  }
  tags = ["${REGISTRY}svinit/grafana:${SVINIT_TAG}${variant == "image" ? "" : "-rootless"}"]
}

target "frontend-dev" {
  inherits   = ["common"]
  dockerfile = "images/frontend/Dockerfile"
  target     = "dev"
  args       = { NODE_BASE = BUILD_BASE }
  contexts = {
    "svinit/base:local" = "target:base"
  }
  tags = ["${REGISTRY}svinit/frontend-dev:${SVINIT_TAG}"]
}
