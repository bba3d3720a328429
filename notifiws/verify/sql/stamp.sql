-- → a stamp that nothing else has
select nextval('notifiws_verify.stamp')
