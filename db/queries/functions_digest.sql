-- Which functions the schema has. → one text
select functions_digest from notifiws.meta
