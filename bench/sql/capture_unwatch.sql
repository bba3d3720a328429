SELECT notifiws.unwatch('bench_rows', w.channel) FROM notifiws.watches w WHERE w.channel LIKE 'bench-rows-%'
