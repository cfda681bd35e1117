# syntax=docker/dockerfile:1
# The images winnow (CPU, the default) and winnow:cuda.  make docker builds both.

# ---- compile, and convert the models: the same setup.sh as on any machine
FROM rust:1-slim-bookworm AS rust

FROM golang:1.26-bookworm AS build
# cargo fetches the sources of FAISS 1.12, which is built twice: the loader takes AVX-512 or AVX2, whatever there is.
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV PATH=$PATH:/usr/local/cargo/bin CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.sh ./
COPY io/index/faiss_c io/index/faiss_c
COPY models/convert models/convert
RUN if [ "$(uname -m)" = x86_64 ]; then export FAISS=fast; fi && ./setup.sh && rm -rf .deps/cache .deps/src .deps/faiss-1.12
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/bin/winnow ./jobs/winnow
# All that an image needs of this stage, laid out as under /usr/local.
RUN mkdir -p /out/lib /out/share/winnow \
    && cp -a .deps/lib/. /out/lib/ \
    && cp -a .deps/models /out/share/winnow/models

# ---- what both images share
FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libopenblas0-pthread libgomp1 libjpeg62-turbo libdeflate0 libheif1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 winnow \
    && useradd --uid 65532 --gid winnow --create-home --key UID_MAX=65535 winnow
COPY --from=build /out/ /usr/local/
# The version is asked for here, so that an image whose libraries do not load is never made.
RUN ldconfig && winnow version
ENV WINNOW_MODELS=/usr/local/share/winnow/models \
    ONNXRUNTIME_LIB=/usr/local/lib/libonnxruntime.so
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /home/winnow
ENTRYPOINT ["winnow"]

# ---- ONNX Runtime with CUDA, and NVIDIA's libraries, from PyPI by hash
FROM debian:bookworm-slim AS cuda-libraries
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
COPY models/convert/cuda.txt /tmp/
RUN pip install --no-cache-dir --no-compile --no-deps --only-binary=:all: --require-hashes --target /tmp/wheels -r /tmp/cuda.txt \
    && mkdir /cuda \
    && mv /tmp/wheels/onnxruntime/capi/libonnxruntime*.so* /cuda/ \
    && rm -f /cuda/libonnxruntime_providers_tensorrt.so \
    && find /tmp/wheels/nvidia -name '*.so*' -type f -exec mv -t /cuda {} + \
    && ln -sfn libonnxruntime.so.1.31.1 /cuda/libonnxruntime.so \
    && rm -rf /tmp/wheels

FROM base AS cuda
# One folder: the runtime looks for its providers beside itself.
COPY --from=cuda-libraries /cuda/ /usr/local/lib/cuda/
ENV ONNXRUNTIME_LIB=/usr/local/lib/cuda/libonnxruntime.so \
    LD_LIBRARY_PATH=/usr/local/lib/cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS cpu
