-- From version 1 to version 2: the views.

PRAGMA user_version = 2;

-- What other programs know as their own tables: the models of a host, and the documents of a download.
CREATE VIEW models AS
SELECT
    entries.id AS id,
    entries.reference AS reference,
    entries.provider AS provider,
    entries.version AS version,
    variants.uri AS local_path,
    variants.size_bytes AS size_bytes,
    lower(hex(variants.digest)) AS sha256,
    entries.registered_ns / 1000000000 AS downloaded_at
FROM entries
LEFT JOIN variants ON variants.entry = entries.id AND variants.name = ''
WHERE entries.kind = 'model' AND entries.trashed_ns IS NULL;

CREATE VIEW documents AS
SELECT
    entries.id AS id,
    entries.reference AS artifact_id,
    entries.source_url AS source_url,
    entries.provider AS resolver,
    entries.content_type AS content_type,
    variants.size_bytes AS bytes,
    lower(hex(variants.digest)) AS sha256,
    variants.uri AS storage_uri,
    strftime('%Y-%m-%dT%H:%M:%SZ', entries.registered_ns / 1000000000, 'unixepoch') AS created_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', entries.updated_ns / 1000000000, 'unixepoch') AS updated_at,
    entries.run AS run_id
FROM entries
LEFT JOIN variants ON variants.entry = entries.id AND variants.name = ''
WHERE entries.kind = 'document' AND entries.trashed_ns IS NULL;
