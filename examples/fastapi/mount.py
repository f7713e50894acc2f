"""The least that an application needs: it has no lifespan of its own."""

from fastapi import FastAPI

from tidewire.asgi import Tidewire

tidewire = Tidewire()
app = FastAPI(lifespan=tidewire.lifespan)
app.mount("/sync", tidewire)
