"""Stock clients against the router, unchanged: what their makers publish, pointed at our address."""
