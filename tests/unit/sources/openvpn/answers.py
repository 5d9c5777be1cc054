"""What OpenVPN 2.6.14 said, for the tests.

A server with `--topology subnet --server 10.8.0.0 255.255.255.0 --server-ipv6 fd00:8::/64
--duplicate-cn`, three clients, two of them with one certificate, and `iroute 10.9.2.0
255.255.255.0`, `iroute-ipv6 fd00:9::/64`, `iroute 10.7.7.7` for one of these. `status 2` and
`state` were asked at its management interface; version 3 is the same with tabs (`in_version_3`).
"""

VERSION_2 = """\
TITLE,OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [PKCS11] [DCO]
TIME,2026-11-23 17:35:28,1795455328
HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,\
Bytes Sent,Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher
CLIENT_LIST,alice,192.0.2.2:47775,10.8.0.3,fd00:8::1001,2846,2877,2026-11-23 17:35:26,1795455326,\
UNDEF,1,1,AES-256-GCM
CLIENT_LIST,Bjørn,192.0.2.2:34810,10.8.0.4,fd00:8::1002,2846,2985,2026-11-23 17:35:26,1795455326,\
bj,2,2,AES-256-GCM
CLIENT_LIST,Bjørn,192.0.2.2:59805,10.8.0.2,fd00:8::1000,2846,2877,2026-11-23 17:35:26,1795455326,\
UNDEF,0,0,AES-256-GCM
CLIENT_LIST,UNDEF,192.0.2.9:1194,,,0,0,2026-11-23 17:35:28,1795455328,UNDEF,3,3,
HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)
ROUTING_TABLE,10.8.0.2,Bjørn,192.0.2.2:59805,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,fd00:8::1000,Bjørn,192.0.2.2:59805,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,10.9.2.0/24,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,10.7.7.7/32,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,fd00:8::1002,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,fd00:9::/64,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,10.8.0.4,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,10.9.2.55C,Bjørn,192.0.2.2:34810,2026-11-23 17:35:27,1795455327
ROUTING_TABLE,10.8.0.3,alice,192.0.2.2:47775,2026-11-23 17:35:26,1795455326
ROUTING_TABLE,fd00:8::1001,alice,192.0.2.2:47775,2026-11-23 17:35:26,1795455326
GLOBAL_STATS,Max bcast/mcast queue length,0
GLOBAL_STATS,dco_enabled,0
END
""".encode()

VERSION_1 = """\
OpenVPN CLIENT LIST
Updated,2026-11-23 17:35:28
Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since
alice,192.0.2.2:47775,2846,2877,2026-11-23 17:35:26
Bjørn,192.0.2.2:34810,2846,2985,2026-11-23 17:35:26
Bjørn,192.0.2.2:59805,2846,2877,2026-11-23 17:35:26
UNDEF,192.0.2.9:1194,0,0,2026-11-23 17:35:28
ROUTING TABLE
Virtual Address,Common Name,Real Address,Last Ref
10.8.0.2,Bjørn,192.0.2.2:59805,2026-11-23 17:35:26
fd00:8::1000,Bjørn,192.0.2.2:59805,2026-11-23 17:35:26
10.9.2.0/24,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26
10.7.7.7/32,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26
fd00:8::1002,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26
fd00:9::/64,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26
10.8.0.4,Bjørn,192.0.2.2:34810,2026-11-23 17:35:26
10.9.2.55C,Bjørn,192.0.2.2:34810,2026-11-23 17:35:27
10.8.0.3,alice,192.0.2.2:47775,2026-11-23 17:35:26
fd00:8::1001,alice,192.0.2.2:47775,2026-11-23 17:35:26
GLOBAL STATS
Max bcast/mcast queue length,0
END
""".encode()

OF_A_CLIENT = b"""\
OpenVPN STATISTICS
Updated,2026-11-23 17:35:32
TUN/TAP read bytes,96
TUN/TAP write bytes,48
TCP/UDP read bytes,2975
TCP/UDP write bytes,2932
Auth read bytes,48
END
"""

INFO = b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
STATE_OF_SERVER = b"1795455326,CONNECTED,SUCCESS,10.8.0.1,,,,,fd00:8::1"
STATE_OF_CLIENT = b"1795455326,CONNECTED,SUCCESS,10.8.0.3,192.0.2.1,1194,,,fd00:8::1001"
STATE_OF_CLIENT_6 = (
    b"1795455370,CONNECTED,SUCCESS,10.8.0.4,fd00:2::1,1194,fd00:2::2,43498,fd00:8::1002"
)


def in_version_3(version_2: bytes) -> bytes:
    """The same as OpenVPN writes it in version 3; no name in it may have a comma."""
    return version_2.replace(b",", b"\t")
