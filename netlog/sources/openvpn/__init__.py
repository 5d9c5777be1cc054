"""OpenVPN: its management interface and its status file."""
