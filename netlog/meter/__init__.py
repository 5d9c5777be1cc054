"""The core's meter: held, counted into, polled."""
