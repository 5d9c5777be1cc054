"""WireGuard in user space and in the kernel."""
