-- Generate anew the capture functions whose table changed its shape. Takes no lock on the table. → count
select notifiws.refresh_watches()
