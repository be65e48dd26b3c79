# ksfusion with the packages of requirements.lock, for a user without rights: docker build --tag ksfusion .
# docker run --rm --volume "$PWD/demo:/opt/ksfusion/demo" ksfusion make demo     (docs/containers.md)
FROM python:3.11-slim-bookworm

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ksfusion \
    && mkdir --parents /opt/ksfusion/demo \
    && chown --recursive ksfusion /opt/ksfusion

USER 1000
WORKDIR /opt/ksfusion
# The packages first: a change of the code does not install them anew.
COPY --chown=ksfusion requirements.lock ./
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock
COPY --chown=ksfusion . ./
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && touch .venv/.installed

# A name for whoever runs it, as any number (--user): Snakemake asks for one.
ENV PATH=/opt/ksfusion/.venv/bin:$PATH USER=ksfusion
CMD ["ksfusion", "--help"]
