-- Whether schema notifiws has its meta table. → one boolean
select to_regclass('notifiws.meta') is not null
