"""The relay: threads that move packets between a TUN and a UDP socket."""
