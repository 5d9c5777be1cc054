"""Values without I/O: connections, nodes, peers, routes, periods, and rows of counts."""
