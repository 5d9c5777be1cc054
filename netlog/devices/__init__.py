"""Observation points: counted I/O on a TUN and a UDP socket, and taps on foreign interfaces."""
