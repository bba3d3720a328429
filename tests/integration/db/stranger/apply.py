"""`manage.py migrate` for several apps in one process. Arguments: apps, or `app.number`."""

import sys

import django
from django.core.management import call_command

django.setup()
for target in sys.argv[1:]:
    call_command("migrate", *target.split("."), verbosity=0, skip_checks=True)
