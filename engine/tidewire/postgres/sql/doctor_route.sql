-- Who serves us, and as whom it sees us.
SELECT pg_backend_pid() AS pid, host(inet_client_addr()) AS address
