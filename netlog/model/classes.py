"""The classes of traffic in a message."""

__all__ = ["CLASSES", "MEMBERS"]

CLASSES = ("virtual", "subnet", "exit", "physical")
"""In the order in which a message shows them."""
MEMBERS = {kind: f"{kind}Traffic" for kind in CLASSES}
"""The members of a message that hold their entries."""
