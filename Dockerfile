# One build, two images: `--target service` (no torch) and `--target worker`.
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim AS base
RUN useradd --create-home --uid 1000 assayer
COPY constraints.txt /tmp/
COPY --from=build /wheels /wheels

FROM base AS worker
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /wheels/*.whl)[worker]"
# Studies may name files below this folder alone: mount data there.
RUN mkdir /data
USER assayer
WORKDIR /home/assayer
ENTRYPOINT ["worker"]
CMD ["--cpu", "--data", "/data"]

FROM base AS service
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /wheels/*.whl)[service]"
USER assayer
WORKDIR /home/assayer
# A named volume takes over the owner of the folder that it covers.
RUN mkdir assayer-blobs
ENV ASSAYER_HOST=0.0.0.0
EXPOSE 8420
ENTRYPOINT ["service"]
CMD ["serve"]
