"""Run it with `uvicorn shop.asgi:application --ws tidewire.asgi:FastPath`."""

import os

from django.core.asgi import get_asgi_application

from tidewire.asgi import Tidewire

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = Tidewire().beside(get_asgi_application(), at="/sync")
