# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/dealpulse \
 && /opt/dealpulse/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas ./schemas
COPY data ./data
COPY streams ./streams
RUN /opt/dealpulse/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
COPY --from=build /opt/dealpulse /opt/dealpulse
RUN useradd --system --uid 10001 --no-create-home dealpulse
USER 10001
ENV PATH=/opt/dealpulse/bin:$PATH PYTHONUNBUFFERED=1
# Workers keep nothing on disk: their state is in Kafka.
WORKDIR /tmp
EXPOSE 6066
ENTRYPOINT ["dealpulse"]
CMD ["worker"]
