"""Values without I/O: connections, nodes, peers, routes, periods, and the rows they come in."""
