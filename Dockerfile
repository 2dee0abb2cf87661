# The operator's image.  Build it with `make image`; it names no registry, and neither does the chart.
#
# The base is pinned by tag here. Pin it by digest where you build for production:
#   make image PYTHON_IMAGE=python:3.11-slim@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Every package comes in the version and with the hash of a lock file: what builds the wheel, and what the operator needs.
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && python -m venv /opt/aigateway \
    && /opt/aigateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/hatchling build --target wheel --directory /dist \
    && /opt/aigateway/bin/pip install --no-cache-dir --no-deps --no-index /dist/*.whl \
    && /opt/aigateway/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/aigateway /opt/aigateway
# Nothing is written at run time: the root file system may be read-only.
ENV PATH=/opt/aigateway/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["aigateway"]
CMD ["run"]
