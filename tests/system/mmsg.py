"""Messages for sendmmsg and recvmmsg, for the programs that run under the preload library."""

import ctypes
from collections.abc import Sequence


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(Vector)),
        ("n", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("length", ctypes.c_uint),
    )


def messages(sizes: Sequence[int], control: bytes = b"") -> ctypes.Array[Message]:
    """Messages with room for so many bytes each, all with the same control data."""
    found = (Message * len(sizes))()
    for message, size in zip(found, sizes, strict=True):
        room = ctypes.create_string_buffer(size)
        message.vectors = ctypes.pointer(Vector(ctypes.addressof(room), size))
        message.n, message.room = 1, room
        if control:
            message.own = ctypes.create_string_buffer(control, len(control))
            message.control, message.control_bytes = ctypes.addressof(message.own), len(control)
        kept.append(message)
    return found


kept: list[Message] = []
"""What a message points to lives as long as the program."""
