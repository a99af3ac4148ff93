# syntax=docker/dockerfile:1
# One image for the three services and the mock provider: compose runs it four times, with another subcommand each.

FROM swift:6.3-bookworm AS build
# What the build links against. Versions are those of the base image's Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libcurl4-openssl-dev libsqlite3-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The dependencies first: this layer is made anew only when they change, not with every change of the sources.
COPY Package.* ./
RUN swift package resolve
COPY . .
RUN swift build -c release --product checkout --static-swift-stdlib \
    && install -D "$(swift build -c release --product checkout --static-swift-stdlib --show-bin-path)/checkout" /out/checkout

FROM debian:bookworm-slim
# curl is for the health checks. The Swift runtime is inside the executable.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libcurl4 libsqlite3-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin checkout \
    && install -d -o checkout -g checkout -m 0750 /var/lib/checkout
COPY --from=build /out/checkout /usr/local/bin/checkout
USER 10001:10001
# All interfaces of the container, and a place for the store that a volume can be laid over; the volume takes its owner.
# What one thread allocates and another frees goes round by glibc's caches for threads, for which seven pieces of a size are too few
# (docs/measurements.md).
ENV HOST=0.0.0.0 DATA_DIR=/var/lib/checkout GLIBC_TUNABLES=glibc.malloc.tcache_count=100
VOLUME /var/lib/checkout
ENTRYPOINT ["checkout"]
CMD ["--help"]
