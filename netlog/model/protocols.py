"""IP protocol numbers and their names.

Source: IANA, Assigned Internet Protocol Numbers. Flow logs use 99 and 255 in their own way.
"""

__all__ = ["protocol_name", "protocol_number"]

MAX_PROTOCOL = 255
"""RFC 791 section 3.1, RFC 8200 section 3: eight bits."""

NAMES = {
    1: "icmp",
    2: "igmp",
    4: "ipv4",
    6: "tcp",
    17: "udp",
    33: "dccp",
    41: "ipv6",
    46: "rsvp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    89: "ospf",
    99: "tsmp",  # Tailscale's types/ipproto: any private encryption scheme (RFC 1700)
    103: "pim",
    112: "vrrp",
    115: "l2tp",
    132: "sctp",
    136: "udplite",
    255: "fragment",  # Tailscale's types/ipproto: a fragment that is not the first one
}
NUMBERS = {name: number for number, name in NAMES.items()} | {
    "ipv6-icmp": 58,
    "icmp6": 58,
    "ospfigp": 89,
    "ipip": 4,
}


def protocol_name(number: int) -> str:
    """The name of a protocol in lower case; its number as digits, if NAMES has no name for it."""
    return NAMES.get(number) or str(number)


def protocol_number(text: str) -> int | None:
    """The number of a protocol, from its name in any case or from its digits; None: unknown."""
    if text.isascii() and text.isdigit():
        number = int(text[:4])
        return number if number <= MAX_PROTOCOL else None
    return NUMBERS.get(text.lower())
