# The image of `glasses`: the command, and its server with the page. No torch, no compiler, no root.
#   docker build -t glasses .
#   docker run --rm -v "$PWD:/photos" glasses /photos
#   docker run --rm -p 8000:8000 glasses serve --host 0.0.0.0

FROM node:22-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web ./
COPY glasses/weights /src/glasses/weights
RUN npm run build

FROM python:3.13-slim-bookworm AS tool
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY web/hatch_build.py web/
COPY detector_architectures detector_architectures
COPY glasses glasses
COPY --from=page /src/build/web build/web
RUN python -m venv /opt/glasses \
    && /opt/glasses/bin/python -m pip install --no-cache-dir --constraint constraints.txt ".[web]" \
    && /opt/glasses/bin/python -m pip uninstall --yes pip
# Of the packages what nothing here loads: the runtime for other languages, scripts for other networks, tests.
RUN find /opt/glasses/lib -path "*/onnxruntime/capi/libonnxruntime.so*" -delete \
    && find /opt/glasses/lib -depth -type d \( -path "*/onnxruntime/transformers" -o -name tests \) -exec rm -r {} +

FROM python:3.13-slim-bookworm
COPY --from=tool /opt/glasses /opt/glasses
ENV PATH=/opt/glasses/bin:$PATH
WORKDIR /photos
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["glasses"]
CMD ["--help"]
