-- Watches that are not in force. → table text, channel text, problem text
select w.table, w.channel, w.problem from notifiws.watches w where not w.in_force order by 1, 2
