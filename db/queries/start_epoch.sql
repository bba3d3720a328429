-- Start a new epoch from the present snapshot on. Only for the leader. → its name
select notifiws.start_epoch()
