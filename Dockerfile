# The service, of a run and an index that are mounted:
#   docker build -t omni .
#   docker run -p 8000:8000 -v ./runs:/runs:ro -v ./keys:/keys:ro omni --model /runs/demo
# With a GPU: --gpus all. The keys, and an index that is added to, must be open to user 10001.
FROM python:3.12-slim

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY omni ./omni
RUN pip install --no-cache-dir -c constraints.txt '.[serve]'

RUN useradd --uid 10001 --create-home omni
USER omni
WORKDIR /home/omni

EXPOSE 8000
# Requests that are being answered have a minute; then it ends by itself.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["python", "-m", "omni", "serve", "--host", "0.0.0.0", "--key", "/keys"]
CMD ["--model", "/runs/demo"]
