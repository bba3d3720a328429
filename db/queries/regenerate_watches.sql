-- Generate all capture functions anew with this release's generator. → count
select notifiws.refresh_watches(true)
