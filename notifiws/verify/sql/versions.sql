-- → the server's version
select current_setting('server_version')
