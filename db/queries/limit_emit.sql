-- Set the size limit of emitted payloads. $1 bytes int
update notifiws.meta set emit_bytes = $1 where emit_bytes <> $1
