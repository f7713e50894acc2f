"""The TestSync protocol as old clients speak it: shared data over HTTP, checkpoints over WebSocket.

What the original server answered is answered alike. Where it hung, miscounted or kept silent, we
answer; `docs/howto/testsync.md` lists every difference.
"""
