"""What a frame is that is left out, in words: the names of link types, ethertypes and the like."""

from netlog._native import lib

__all__ = ["frame_kind"]

LINK_TYPES = {
    6: "IEEE802_5",
    7: "ARCNET_BSD",
    8: "SLIP",
    10: "FDDI",
    100: "ATM_RFC1483",
    109: "ENC",
    114: "LTALK",
    117: "PFLOG",
    119: "IEEE802_11_PRISM",
    122: "IP_OVER_FC",
    123: "SUNATM",
    129: "ARCNET_LINUX",
    138: "APPLE_IP_OVER_IEEE1394",
    140: "MTP2",
    141: "MTP3",
    142: "SCCP",
    143: "DOCSIS",
    144: "LINUX_IRDA",
    **{147 + number: f"USER{number}" for number in range(16)},
    163: "IEEE802_11_AVS",
    166: "PPP_PPPD",
    169: "GPRS_LLC",
    170: "GPF_T",
    177: "LINUX_LAPD",
    182: "MFR",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    203: "LAPD",
    204: "PPP_WITH_DIR",
    205: "C_HDLC_WITH_DIR",
    206: "FRELAY_WITH_DIR",
    209: "I2C_LINUX",
    215: "IEEE802_15_4_NONASK_PHY",
    220: "USB_LINUX_MMAPPED",
    224: "FC_2",
    225: "FC_2_WITH_FRAME_DELIMS",
    226: "IPNET",
    227: "CAN_SOCKETCAN",
    230: "IEEE802_15_4_NOFCS",
    231: "DBUS",
    237: "MUX27010",
    240: "NETANALYZER",
    241: "NETANALYZER_TRANSPARENT",
    242: "IPOIB",
    243: "MPEG_2_TS",
    245: "NFC_LLCP",
    247: "INFINIBAND",
    248: "SCTP",
    249: "USBPCAP",
    251: "BLUETOOTH_LE_LL",
    252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK",
    254: "BLUETOOTH_LINUX_MONITOR",
    256: "BLUETOOTH_LE_LL_WITH_PHDR",
    259: "EPON",
    260: "IPMI_HPM_2",
    265: "NORDIC_BLE",
    266: "USB_DARWIN",
    268: "SDLC",
    271: "VSOCK",
    272: "NORDIC_BLE",
    274: "ETHERNET_MPACKET",
    279: "EBHSCR",
    280: "VPP_DISPATCH",
    283: "IEEE802_15_4_TAP",
    288: "USB_2_0",
}
"""Of the list at tcpdump.org, those that captures in circulation have."""

ETHERTYPES = {
    0x0001: "IEEE 802.3",
    0x000C: "CAN",
    0x000D: "CAN FD",
    0x0806: "ARP",
    0x0842: "Wake-on-LAN",
    0x22F0: "AVTP",
    0x22F3: "TRILL",
    0x2000: "CDP",
    0x6002: "DEC MOP",
    0x6558: "Ethernet bridging",
    0x8035: "RARP",
    0x809B: "AppleTalk",
    0x80F3: "AARP",
    0x8100: "VLAN tags, more than netlog reads",
    0x8137: "IPX",
    0x8808: "Ethernet flow control",
    0x8809: "LACP",
    0x8863: "PPPoE discovery",
    0x887B: "HomePlug",
    0x888E: "EAPOL",
    0x8892: "PROFINET",
    0x889A: "HyperSCSI",
    0x88A2: "ATA over Ethernet",
    0x88A4: "EtherCAT",
    0x88A8: "VLAN tags, more than netlog reads",
    0x88B7: "OUI extended ethertype",
    0x88B8: "GOOSE",
    0x88BA: "IEC 61850 sampled values",
    0x88BE: "ERSPAN",
    0x88CC: "LLDP",
    0x88E1: "HomePlug AV",
    0x88E5: "MACsec",
    0x88E7: "provider backbone bridging",
    0x88F5: "MVRP",
    0x88F7: "PTP",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x8914: "FCoE initialization",
    0x8915: "RoCE",
    0x893A: "IEEE 1905",
    0x9000: "Ethernet loopback",
    0x9100: "VLAN tags, more than netlog reads",
    0x9200: "VLAN tags, more than netlog reads",
}

LLC = {0x4242: "STP", 0xE0E0: "IPX", 0xF0F0: "NetBIOS", 0xFEFE: "IS-IS", 0xFFFF: "IPX"}

PPP = {
    0x002D: "PPP with compressed TCP/IP headers",
    0x002F: "PPP with compressed TCP/IP headers",
    0x003D: "PPP multilink",
    0x00FD: "PPP with compressed data",
    0x8021: "PPP IPCP",
    0x8053: "PPP ECP",
    0x8057: "PPP IPv6CP",
    0x80FD: "PPP CCP",
    0xC021: "PPP LCP",
    0xC023: "PPP PAP",
    0xC025: "PPP LQR",
    0xC223: "PPP CHAP",
    0xC227: "PPP EAP",
}

NLPIDS = {0x08: "Q.933", 0x81: "CLNP", 0x82: "ES-IS", 0x83: "IS-IS", 0xB1: "FRF.12 fragments"}

WLAN = {
    lib.NETLOG_80211_MANAGEMENT: "802.11 management",
    lib.NETLOG_80211_CONTROL: "802.11 control",
    lib.NETLOG_80211_NO_DATA: "802.11 without data",
    lib.NETLOG_80211_ENCRYPTED: "802.11 encrypted",
    lib.NETLOG_80211_FRAGMENT: "802.11 fragments",
    lib.NETLOG_80211_AGGREGATE: "802.11 A-MSDU",
    lib.NETLOG_80211_OTHER: "802.11 of another version",
}

SPACES = {
    lib.NETLOG_SPACE_ETHERTYPE: (ETHERTYPES, "ethertype 0x{:04x}"),
    lib.NETLOG_SPACE_LLC: (LLC, "LLC 0x{:04x}"),
    lib.NETLOG_SPACE_PPP: (PPP, "PPP protocol 0x{:04x}"),
    lib.NETLOG_SPACE_FAMILY: ({}, "address family {}"),
    lib.NETLOG_SPACE_NLPID: (NLPIDS, "NLPID 0x{:02x}"),
    lib.NETLOG_SPACE_80211: (WLAN, "802.11 kind {}"),
    lib.NETLOG_SPACE_MPLS: ({0: "MPLS without IP"}, "MPLS {}"),
    lib.NETLOG_SPACE_TAILSCALE: ({254: "Tailscale disco"}, "Tailscale path {}"),
}


def frame_kind(space: int, number: int) -> str:
    """Name what a frame is.

    Args:
        space: an `enum netlog_frame_space` of the core: whose number it is.
        number: a link type, an ethertype, and so on.

    Returns:
        A name, or the number where netlog knows none; for a link type both.
    """
    if space == lib.NETLOG_SPACE_LINK:
        return f"{number} {LINK_TYPES.get(number, '(no name known)')}"
    if space not in SPACES:
        return "others"
    names, template = SPACES[space]
    return names.get(number) or template.format(number)
