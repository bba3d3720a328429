-- Leave nothing behind in the database that was lent to us, but what the log keeps.
select notifiws.unwatch('notifiws_verify.alpha', 'notifiws-verify.alpha');
select notifiws.unwatch('notifiws_verify.beta', 'notifiws-verify.beta');
drop schema notifiws_verify cascade;
