"""Two routers, as the processes they are, over one PostgreSQL and one Redis."""
