# `service` serves, and holds no torch; `trainer` holds everything: worker and lab.
#   docker build --target service .      docker build --target trainer .
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/zoo/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/zoo/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/zoo \
 && groupadd --gid 10001 zoo \
 && useradd --uid 10001 --gid zoo --no-create-home --home-dir /tmp zoo
# A new named volume takes owner and mode from the folder that it covers.
RUN install -d -o zoo -g zoo -m 0700 \
    /zoo/access /zoo/tls /zoo/trust /zoo/safe /zoo/builder /zoo/data /zoo/cache /zoo/scratch /zoo/report \
 && install -d -m 0755 /zoo/datasets
WORKDIR /app

FROM base AS wheel
WORKDIR /src
COPY pyproject.toml README.md ./
COPY model_zoo model_zoo
COPY service service
COPY trainer trainer
RUN pip wheel --quiet --no-deps --wheel-dir /dist .

# Requirements come in layers below the sources: an edit does not fetch them again.
# Empty packages of version 0 stand in for the sources until the wheel replaces them.
# trustme is of no extra of the service: `init` issues its certificate in this image.
FROM base AS service-requirements
ARG PIP_OPTIONS=""
WORKDIR /src
COPY pyproject.toml ./
RUN mkdir model_zoo service trainer \
 && touch README.md service/__init__.py trainer/__init__.py \
 && echo '__version__ = "0"' > model_zoo/__init__.py \
 && pip install --quiet ${PIP_OPTIONS} '.[service]' 'trustme>=1.2'

FROM service-requirements AS trainer-requirements
ARG PIP_OPTIONS=""
RUN pip install --quiet ${PIP_OPTIONS} '.[all]'

FROM service-requirements AS service
COPY --from=wheel /dist /dist
RUN pip install --quiet --no-deps /dist/*.whl
WORKDIR /app
COPY containers containers
USER 10001:10001
EXPOSE 8443
ENTRYPOINT ["zoo"]
CMD ["serve"]

FROM trainer-requirements AS trainer
COPY --from=wheel /dist /dist
RUN pip install --quiet --no-deps /dist/*.whl
WORKDIR /app
COPY containers containers
USER 10001:10001
ENTRYPOINT ["zoo"]
CMD ["lab", "--out", "/zoo/report"]
