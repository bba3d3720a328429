-- How full the NOTIFY queue is. → double precision, 0 to 1
select pg_notification_queue_usage()
