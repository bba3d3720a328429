-- Generate all capture and touch functions anew with this release's generators. → count of watches
select notifiws.refresh_watches(true), notifiws.generate_touch()
