"""The demo: two gateways, a subnet and an outside world in namespaces, checked by the kernel."""
